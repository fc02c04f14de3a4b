"""Tabs without a browser: each fetches the page and then listens on a WebSocket, so that only the server's cost is measured."""

import asyncio
import re
from typing import Any
from uuid import uuid4

import aiohttp
import socketio


class Tab:
    """One open page. `bytes` counts what was pushed since `reset`."""

    def __init__(self, url: str, path: str) -> None:
        self._url, self._path = url, path
        self._http = aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True))
        self._line = socketio.AsyncClient(http_session=self._http, reconnection=False)
        self._client = ""
        self._next = 0
        self.bytes = 0
        self.pushes = 0

    async def open(self) -> None:
        async with self._http.get(self._url + self._path) as answer:
            page = await answer.text()
        found = re.search(r"'client_id': '([0-9a-f-]+)'", page)
        assert found is not None
        self._client = found[1]
        query = f"client_id={found[1]}&tab_id={uuid4()}&document_id={uuid4()}&next_message_id=0&implicit_handshake=true"
        self._line.on("run_javascript", self._hear)
        await self._line.connect(
            f"{self._url}/?{query}", socketio_path="/_nicegui_ws/socket.io", transports=["websocket"]
        )
        async with self._http.get(f"{self._url}/ui/boot") as answer:
            await answer.read()

    async def _hear(self, message: dict[str, Any]) -> None:
        self._next = message.get("_id", self._next)
        if message["code"].startswith("A.push("):
            self.bytes += len(message["code"])
            self.pushes += 1
            if self.pushes % 3 == 0:  # as a browser does every three seconds
                await self._line.emit("ack", {"client_id": self._client, "next_message_id": self._next + 1})

    def reset(self) -> None:
        self.bytes = self.pushes = 0

    async def close(self) -> None:
        await self._line.disconnect()
        await self._http.close()


async def many(url: str, path: str, count: int) -> list[Tab]:
    tabs = [Tab(url, path) for _ in range(count)]
    for tab in tabs:
        await tab.open()
        await asyncio.sleep(0.05)
    return tabs
