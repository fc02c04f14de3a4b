"""Pictures of every page, light, dark and on a phone, of a lively cluster: `scripts/pictures` takes them into docs/pictures."""

import argparse
import asyncio
import io
import tempfile
from pathlib import Path

import aiohttp
from PIL import Image
from playwright.async_api import Page

from tests.support.browser import Theme, chromium, visiting
from tests.support.show import show

WHERE = Path(__file__).parent.parent.parent / "docs" / "pictures"

LOOKS: dict[str, tuple[Theme, bool]] = {"light": ("light", False), "dark": ("dark", False), "phone": ("dark", True)}

SETTLED = 2500
"""Milliseconds until what moves at first has come to rest."""


async def places(node: str) -> dict[str, str]:
    """The pages by the name of their picture; the node and the download are ones of the cluster's."""
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{node}/nodes") as answer:
            one_node = (await answer.json())[3]["id"]
        async with session.get(f"{node}/tasks?state=downloading&sort=-size&limit=1") as answer:
            [task] = await answer.json()
    return {
        "dashboard": "/",
        "downloads": "/tasks?sort=-speed",
        "download": f"/tasks/{task['id']}",
        "add": "/tasks?add=1",
        "nodes": "/nodes",
        "node": f"/nodes/{one_node}",
        "activity": "/activity",
        "settings": "/settings",
    }


async def take(page: Page, file: Path) -> None:
    await page.wait_for_timeout(SETTLED)
    shot = await page.screenshot(animations="disabled")
    await asyncio.to_thread(_save, shot, file)


def _save(shot: bytes, file: Path) -> None:
    """With the 256 colours that it needs: two fifths of the bytes, and nobody sees the difference."""
    with Image.open(io.BytesIO(shot)) as picture:
        few = picture.convert("RGB").quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
        few.save(file, optimize=True)


async def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/pictures", description=__doc__)
    parser.add_argument("--only", action="append", help="this page; may be repeated")
    parser.add_argument("--into", type=Path, default=WHERE)
    asked = parser.parse_args()
    await asyncio.to_thread(asked.into.mkdir, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        async with show(Path(work), nodes=8, tasks=5000, lost=1) as shown, chromium() as browser:
            for name, path in (await places(shown.node)).items():
                if asked.only and name not in asked.only:
                    continue
                for look, (theme, phone) in LOOKS.items():
                    async with visiting(browser, shown.url, theme=theme, phone=phone) as watched:
                        page = await watched.open(path)
                        await take(page, asked.into / f"{name}-{look}.png")
                        watched.clean()


if __name__ == "__main__":
    asyncio.run(main())
