"""One download and the dialog for new ones, in a real browser over a lively cluster."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from tests.support.browser import Theme, chromium, visiting
from tests.support.lively import Lively
from tests.support.processes import until
from tests.support.show import webapp
from tests.support.torrent import bencode

pytestmark = pytest.mark.integration

HOSTILE = '<img src=x onerror="window.pwned=1">{{constructor.constructor("window.pwned=2")()}}</script>\u202egnp.exe'
TORRENT = bencode({"info": {"name": "a set", "piece length": 4, "pieces": b"x" * 20, "length": 3}})


@pytest.fixture
async def cluster() -> AsyncIterator[Lively]:
    async with Lively(nodes=4, tasks=120) as lively:
        yield lively


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as running:
        yield running


@pytest.mark.parametrize(("theme", "phone"), [("light", True), ("dark", False)])
async def test_clean_and_alive(cluster: Lively, browser: Browser, tmp_path: Path, theme: Theme, phone: bool) -> None:
    row = next(iter(cluster.active.values()))
    row.name = HOSTILE
    async with webapp(tmp_path, cluster.url) as (url, _), visiting(browser, url, theme=theme, phone=phone) as watched:
        page = await watched.open(f"/tasks/{row.id}")
        await expect(page.locator("h1")).to_contain_text("onerror")
        await expect(page.locator(".ac-pieces i").first).to_be_visible()
        percent = page.locator(".ac-task-pct")
        before = await percent.text_content()
        await expect(percent).not_to_have_text(before or "")
        assert await watched.violations() == []
        await page.locator(".ac-fab" if phone else ".ac-add").click()
        await page.locator("textarea[name=text]").fill("http://a.example/x\nno link")
        await expect(page.locator(".ac-add-found")).to_contain_text("1 not understood")
        await page.locator(".ac-add-further").click()
        assert await watched.violations() == []
        if phone:
            assert await page.evaluate("document.documentElement.scrollWidth") <= 390
        assert await page.evaluate("window.pwned") is None
        watched.clean()


async def test_links_and_files_from_anywhere(cluster: Lively, browser: Browser, tmp_path: Path) -> None:
    async with webapp(tmp_path, cluster.url) as (url, _), visiting(browser, url) as watched:
        page = await watched.open("/nodes")
        await page.evaluate(
            """() => { const data = new DataTransfer(); data.setData("text/plain", "http://pasted.example/x");
            dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, bubbles: true })); }"""
        )
        box = page.locator("textarea[name=text]")
        await expect(box).to_have_value("http://pasted.example/x")
        await page.keyboard.press("Escape")
        await page.reload()
        await page.wait_for_function("window.A && A.s.ready")
        await page.keyboard.press("a")
        await expect(box).to_have_value("http://pasted.example/x")  # a draft outlives a reload
        torrent = tmp_path / "a.torrent"
        torrent.write_bytes(TORRENT)
        await page.locator("input[type=file]").set_input_files(torrent)
        await expect(page.locator(".ac-add-files")).to_contain_text("a set")
        await page.get_by_role("button", name="Add 2").click()
        await expect(page.locator(".ac-toast")).to_contain_text("2 downloads added")
        await expect(page.get_by_role("dialog")).to_have_count(0)
        await page.get_by_role("button", name="Undo").click()
        await until(lambda: cluster.said[-1][1] == "/tasks/bulk", "they are taken back")
        watched.clean()


async def test_a_wrong_field_is_pointed_at_wherever_it_is(cluster: Lively, browser: Browser, tmp_path: Path) -> None:
    async with webapp(tmp_path, cluster.url) as (url, _), visiting(browser, url, phone=True) as watched:
        page = await watched.open("/tasks?add=1")
        await page.locator("textarea[name=text]").fill("http://a.example/x\n" + "no link\n" * 12)
        await page.locator(".ac-add-further").click()
        await page.locator("input[name=tags]").fill("gpu")
        await page.locator(".ac-add-further").click()
        await page.locator("dialog button[type=submit]").click()
        await expect(page.locator(".ac-add-error")).to_be_in_viewport()
        await expect(page.locator("input[name=tags]")).to_be_focused()
        await expect(page.locator("input[name=tags]")).to_have_attribute("aria-invalid", "true")
        # Nothing lies over it: the foot of the dialog stays where it is while the rest is scrolled.
        await page.wait_for_function(
            """() => { const box = document.activeElement.getBoundingClientRect();
            return document.elementFromPoint(box.x + 9, box.y + box.height / 2) === document.activeElement; }"""
        )
        assert await watched.violations() == []
        watched.clean()


async def test_a_failed_one_says_what_to_do(cluster: Lively, browser: Browser, tmp_path: Path) -> None:
    row = next(row for row in cluster.tasks.values() if row.status == "failed")
    async with webapp(tmp_path, cluster.url) as (url, _), visiting(browser, url) as watched:
        page = await watched.open("/tasks?show=failed&sort=name")
        await page.locator(f"[data-task='{row.id}'] a").first.click()
        await expect(page).to_have_url(f"{url}/tasks/{row.id}")
        await page.locator(".ac-back").click()
        await expect(page).to_have_url(f"{url}/tasks?show=failed&sort=name")
        await page.locator(f"[data-task='{row.id}'] a").first.click()
        advice = page.locator(".ac-task-error")
        await expect(advice).to_be_visible()
        await advice.get_by_role("button").click()
        if row.needs_link:
            await page.locator("dialog input[name=url]").fill("http://new.example/x")
            await page.get_by_role("dialog").get_by_role("button", name="New link").click()
        await until(lambda: bool(cluster.said), "it is said to the node")
        watched.clean()
