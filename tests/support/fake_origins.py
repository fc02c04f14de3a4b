"""Origins that say what a test put into their mouths."""

import asyncio
from urllib.parse import urlsplit

from ariacluster.domain.intake import DOCUMENTS
from ariacluster.domain.task import TaskSpec
from ariacluster_node.ports import Probe


class FakeOrigins:
    """Fills `Origins`. `answers` by URL, of the first link that is HTTP's; a URL that is not there gets `otherwise`.

    `asked` is every URL that was asked, in order; `in_flight` how many wait for an answer now, `most` how many ever did at
    once. Between `hold` and `let_go` nobody is answered.
    """

    def __init__(self, answers: dict[str, Probe | None] | None = None) -> None:
        self.answers = answers or {}
        self.otherwise: Probe | None = None
        self.asked: list[str] = []
        self.in_flight = 0
        self.most = 0
        self._free = asyncio.Event()
        self._free.set()

    def hold(self) -> None:
        """Keep what is asked from now on waiting."""
        self._free.clear()

    def let_go(self) -> None:
        """Answer those who wait, and all after them."""
        self._free.set()

    def asks(self, spec: TaskSpec) -> bool:
        proxied = any(option in spec.options for option in ("all-proxy", "http-proxy", "https-proxy", "ftp-proxy"))
        return not proxied and _link(spec) is not None and not _names_a_document(spec)

    async def probe(self, spec: TaskSpec) -> Probe | None:
        url = _link(spec)
        if url is None or not self.asks(spec):
            return None
        self.asked.append(url)
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        try:
            await self._free.wait()
            await asyncio.sleep(0)
        finally:
            self.in_flight -= 1
        return self.answers.get(url, self.otherwise)


def _link(spec: TaskSpec) -> str | None:
    return next((url for url in spec.urls if urlsplit(url).scheme in ("http", "https")), None)


def _names_a_document(spec: TaskSpec) -> bool:
    paths = [urlsplit(url).path for url in spec.urls]
    return any(name.lower().endswith(DOCUMENTS) for name in (*paths, spec.out or ""))
