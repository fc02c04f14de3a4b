"""A visitor of the web app without a browser: the pages as elements, what they say, and what they ask of a lively cluster.

    async with Lively(nodes=3, tasks=50, pace=0) as cluster, visit(cluster) as visitor:
        await visitor.open("/nodes")
        await visitor.emit(NodeCards, "act", {"verb": "drain", "id": cluster.nodes[0].id})

What is inside a Vue component is not seen here; the browser's tests see it.
"""

import asyncio
import atexit
import os
import re
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

os.environ["NICEGUI_STORAGE_PATH"] = tempfile.mkdtemp(prefix="ariacluster-ui-test-")

import httpx
import msgspec
from nicegui import ElementFilter, core, ui
from nicegui.testing import User
from nicegui.testing.general import nicegui_reset_globals, prepare_simulation

from ariacluster_ui import site
from ariacluster_ui.guard import Door
from ariacluster_ui.live import Store
from tests.support.lively import Lively
from tests.support.processes import until

T = TypeVar("T", bound=ui.element)

atexit.register(shutil.rmtree, os.environ["NICEGUI_STORAGE_PATH"], ignore_errors=True)


class Visitor:
    """`store` is the web app's; `user` is NiceGUI's own for what it does better."""

    def __init__(self, user: User, store: Store) -> None:
        self.user = user
        self.store = store
        self.scripts: list[str] = []
        """JavaScript that was sent to the tab."""

    async def open(self, path: str) -> None:
        """Returns when the page stands and the cluster is known."""
        await until(lambda: self.store.status is not None and self.store.nodes, "the store has heard of the cluster")
        client = await self.user.open(path)
        send = client.run_javascript

        def keep(code: str, *, timeout: float = 1.0) -> Any:
            self.scripts.append(code)
            return send(code, timeout=timeout)

        client.run_javascript = keep  # type: ignore[method-assign]

    async def go(self, path: str) -> None:
        """To another page of ours, as a click on a link does."""
        client = self.user._client
        with client:
            await client.sub_pages_router._handle_navigate(path)

    def leave(self) -> None:
        """The browser is gone: its line breaks."""
        client = self.user._client
        assert client is not None
        for socket in [*client._socket_to_document_id]:
            client.handle_disconnect(socket)

    async def ticks(self, number: int = 1) -> None:
        """So many times more the tab was told what is new."""
        before = sum(code.startswith("A.push(") for code in self.scripts)
        await until(lambda: sum(code.startswith("A.push(") for code in self.scripts) >= before + number, "news")

    def all(self, kind: type[T]) -> list[T]:
        with self.user._client:
            return list(ElementFilter(kind=kind))

    def one(self, kind: type[T]) -> T:
        """The only element of its kind."""
        [found] = self.all(kind)
        return found

    async def shown(self, kind: type[T]) -> T:
        """The only element of its kind, once it is there."""
        return (await until(lambda: self.all(kind), f"one {kind.__name__} is shown"))[0]

    async def emit(self, kind: type[ui.element], event: str, args: Any = None) -> None:
        """What the component of that element tells Python."""
        await self.shown(kind)
        self.user.find(kind).trigger(event, args)

    @property
    def toasts(self) -> list[dict[str, Any]]:
        """What was said in passing, the newest last."""
        found = [re.fullmatch(r"A\.toast\((.*)\)", code, re.DOTALL) for code in self.scripts]
        return [msgspec.json.decode(match[1]) for match in found if match]

    def all_news(self, kind: str) -> list[dict[str, Any]]:
        """What was told to this tab alone, of that kind, the newest last."""
        told = [code.removeprefix("A.tell(").removesuffix(")") for code in self.scripts if code.startswith("A.tell(")]
        return [news for one in told if (news := msgspec.json.decode(one))["k"] == kind]

    async def news(self, kind: str) -> dict[str, Any]:
        """The last of that kind, once there is one."""
        return (await until(lambda: self.all_news(kind), f"news of {kind}"))[-1]

    @staticmethod
    def removing() -> bool:
        """Whether downloads are about to be removed."""
        return any(running.get_name() == "remove downloads" for running in asyncio.all_tasks())

    async def told(self, text: str) -> dict[str, Any]:
        """The toast that says so, once it does."""

        def saying() -> list[dict[str, Any]]:
            return [one for one in self.toasts if text in one["text"]]

        return (await until(saying, f"a toast: {text}"))[0]


@asynccontextmanager
async def visit(cluster: Lively) -> AsyncIterator[Visitor]:
    """The web app over `cluster`, in this process."""
    with _simulation():
        store = Store([cluster.url])
        root = site.prepare(store, door=Door(["test"])).root
        prepare_simulation()
        ui.run(root)
        async with (
            core.app.router.lifespan_context(core.app),
            httpx.AsyncClient(transport=httpx.ASGITransport(core.app), base_url="http://test") as client,
        ):
            yield Visitor(User(client), store)


@contextmanager
def _simulation() -> Iterator[None]:
    navigate, notify, download = ui.navigate, ui.notify, ui.download
    with nicegui_reset_globals():
        os.environ["NICEGUI_USER_SIMULATION"] = "true"
        try:
            yield
        finally:
            del os.environ["NICEGUI_USER_SIMULATION"]
            ui.navigate, ui.notify, ui.download = navigate, notify, download
