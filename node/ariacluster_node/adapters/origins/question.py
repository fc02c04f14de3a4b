"""What an origin is asked about a task: its link, and the headers with which aria2 would come."""

import base64

from yarl import URL

from ariacluster.domain.intake import DOCUMENTS
from ariacluster.domain.task import TaskSpec

USER_AGENT = "aria2/1.37.0"
"""Some servers judge by it, and it is aria2 that comes for the file."""

SCHEMES = ("http", "https")

PROXIES = frozenset({"all-proxy", "http-proxy", "https-proxy", "ftp-proxy"})

OURS = frozenset(
    {
        "accept-encoding", "connection", "content-length", "content-type", "expect", "if-match", "if-modified-since",
        "if-none-match", "if-range", "if-unmodified-since", "keep-alive", "range", "te", "trailer", "transfer-encoding",
        "upgrade",
    }
)  # fmt: skip
"""Headers of a task that are not sent along: they would change what the answer means, or what the connection is."""

SECRETS = frozenset({"authorization", "cookie"})
"""Headers that are for the server of the link alone, and not for one that it sends us to."""


def link_of(spec: TaskSpec) -> str | None:
    """The first link that can be asked; None if none can, or if what lies there is not the file itself: a torrent or a
    Metalink document is as large as it is, whatever the download will be."""
    if PROXIES & spec.options.keys() or not any(url[:4].lower() == "http" for url in spec.urls):
        return None
    urls = [parse(url) for url in spec.urls]
    if is_document(spec.out or "") or any(is_document(url.raw_path) for url in urls):
        return None
    return next((text for text, url in zip(spec.urls, urls, strict=True) if url.scheme in SCHEMES and url.host), None)


def parse(link: str) -> URL:
    """As it is written: a link may be signed, and to quote it anew would break that."""
    return URL(link, encoded=link.isascii())


def is_document(path: str) -> bool:
    return path.lower().endswith(DOCUMENTS)


def headers_of(spec: TaskSpec, home: URL, url: URL) -> list[tuple[str, str]]:
    """What to send to `url`, where the question that began at `home` has led. As aria2 has it, a header of the task takes
    the place of one that an option asks for."""
    trusted = (url.host, url.port) == (home.host, home.port) or (url.host == home.host and url.scheme == "https")
    lines = [*spec.headers, *([spec.options["header"]] if "header" in spec.options else [])]
    given = [(name.strip(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    asked = [(name, value) for name, value in given if name.lower() not in OURS]
    if not trusted:
        asked = [(name, value) for name, value in asked if name.lower() not in SECRETS]
    named = {name.lower() for name, _ in asked}
    own = {"User-Agent": spec.options.get("user-agent", USER_AGENT), "Referer": _referer(spec, home)}
    if "authorization" not in named:
        own["Authorization"] = _authorization(spec, url, trusted=trusted)
    asked += [(name, value) for name, value in own.items() if value and name.lower() not in named]
    return [*asked, ("Accept-Encoding", "identity")]


def _referer(spec: TaskSpec, home: URL) -> str:
    referer = spec.options.get("referer", "")
    return str(home.with_user(None).with_fragment(None)) if referer == "*" else referer


def _authorization(spec: TaskSpec, url: URL, *, trusted: bool) -> str:
    """Basic, RFC 7617: with the login of the link, else that of the options."""
    user, password = url.user, url.password
    if user is None and trusted:
        user, password = spec.options.get("http-user"), spec.options.get("http-passwd")
    if user is None:
        return ""
    return "Basic " + base64.b64encode(f"{user}:{password or ''}".encode()).decode()
