"""Debian's Chromium, driven by Playwright: pages that remember every error and every request to the outside."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.async_api import Browser, BrowserContext, Page, ViewportSize, async_playwright, expect

AXE = Path(__file__).parent.parent / "browser" / "axe" / "axe.min.js"

FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
]  # fmt: skip
"""Without those about the background, Chromium looks for the Internet by itself."""

PATIENCE = 20_000
"""Milliseconds that something may take on a machine that does other things as well."""

expect.set_options(timeout=PATIENCE)

DESK: ViewportSize = {"width": 1440, "height": 900}
PHONE: ViewportSize = {"width": 390, "height": 844}

Theme = Literal["light", "dark"]


class Watched:
    """A page, with what went wrong on it: `errors` of the console and of scripts, `outside` requests."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.errors: list[str] = []
        self.outside: list[str] = []
        page.on("console", lambda said: self.errors.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", lambda request: self._look(request.url))

    def _look(self, url: str) -> None:
        if not url.startswith((self.url, self.url.replace("http", "ws", 1), "data:", "blob:")):
            self.outside.append(url)

    async def open(self, path: str = "/") -> Page:
        """Returns when the numbers of the cluster are there."""
        await self.page.goto(self.url + path)
        await self.page.wait_for_function("window.A && A.s.ready && A.s.glance.members !== undefined")
        return self.page

    async def violations(self) -> list[str]:
        """What axe finds, of any severity: the rule and the elements."""
        if not await self.page.evaluate("typeof axe !== 'undefined'"):
            await self.page.add_script_tag(path=AXE)
        found: dict[str, Any] = await self.page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        return [
            f"{one['id']}: {', '.join(node['target'][0] for node in one['nodes'][:4])} ({one['nodes'][0]['failureSummary']})"
            for one in found["violations"]
        ]

    def clean(self) -> None:
        assert self.errors == []
        assert self.outside == []


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """The browser; the test is skipped where none is."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=FLAGS)
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def visiting(
    browser: Browser, url: str, *, theme: Theme = "light", phone: bool = False, calm: bool = True, sharp: bool = False
) -> AsyncIterator[Watched]:
    """A page of a browser that has never been here; `calm`: nothing moves by itself."""
    context: BrowserContext = await browser.new_context(
        viewport=PHONE if phone else DESK,
        color_scheme=theme,
        is_mobile=phone,
        has_touch=phone,
        device_scale_factor=2 if phone and sharp else 1,
        reduced_motion="reduce" if calm else "no-preference",
    )
    context.set_default_timeout(PATIENCE)
    try:
        yield Watched(await context.new_page(), url)
    finally:
        await context.close()
