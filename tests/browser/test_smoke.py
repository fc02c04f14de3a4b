"""The web app in a real browser, over a lively cluster: it is alive, clean, quick to come back, and goes below a path."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from ariacluster_ui.presenters import units
from tests.support import ports
from tests.support.browser import Theme, chromium, visiting
from tests.support.lively import Lively
from tests.support.processes import until
from tests.support.show import webapp
from tests.support.stripping_proxy import stripping_proxy

pytestmark = pytest.mark.integration

HOSTILE = (
    '<img src=x onerror="window.pwned=1">{{constructor.constructor("window.pwned=2")()}}</script>${1}\u202egnp.exe 🎉'
)


@pytest.fixture
async def cluster() -> AsyncIterator[Lively]:
    async with Lively(nodes=4, tasks=120) as lively:
        lively.lose(3)
        yield lively


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as running:
        yield running


@pytest.mark.parametrize(("theme", "phone"), [("light", False), ("dark", True)])
async def test_every_page_is_clean(
    cluster: Lively, browser: Browser, tmp_path: Path, theme: Theme, phone: bool
) -> None:
    row = next(iter(cluster.active.values()))
    row.name = HOSTILE
    cluster.tell("task_started", f"A node began to download {HOSTILE}.", row)
    async with webapp(tmp_path, cluster.url) as (url, _), visiting(browser, url, theme=theme, phone=phone) as watched:
        for path in ("/", "/nodes", f"/nodes/{cluster.nodes[0].id}", "/activity", "/settings"):
            page = await watched.open(path)
            await expect(page.locator("h1")).to_be_visible()
            await page.wait_for_timeout(300)
            assert await watched.violations() == [], path
            if phone:
                assert await page.evaluate("document.documentElement.scrollWidth") <= 390, (
                    f"{path} is wider than a phone"
                )
            assert await page.evaluate("window.pwned") is None
        watched.clean()


async def test_it_is_alive(cluster: Lively, browser: Browser, tmp_path: Path) -> None:
    async with webapp(tmp_path, cluster.url) as (url, _), visiting(browser, url) as watched:
        page = await watched.open("/")
        speed = page.locator(".ac-kpi-down .ac-kpi-number")
        before = await speed.text_content()
        await expect(speed).not_to_have_text(before or "")
        leader = page.locator(".ac-star-leader .ac-name")
        await expect(leader).to_have_text(cluster.nodes[2].name)
        cluster.elect(0)
        await expect(leader).to_have_text(cluster.nodes[0].name)
        await expect(page.locator(".ac-feed")).to_contain_text("leads since term 15")
        await expect(page.locator(".ac-problem")).to_contain_text(f"{cluster.nodes[3].name} is offline")
        cluster.back(3)
        await expect(page.locator(".ac-problem")).to_have_count(0)

        await page.keyboard.press("g")
        await page.keyboard.press("n")
        await expect(page.locator("h1")).to_have_text("Nodes")
        await page.locator("[aria-haspopup=menu]").first.click()
        await page.keyboard.press("ArrowDown")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("dialog")).to_contain_text("Drain")
        await page.keyboard.press("Enter")
        await expect(page.locator(".ac-toast")).to_contain_text("is being emptied")
        await page.get_by_role("button", name="Undo").click()
        await until(lambda: cluster.said[-1][1].endswith("/undrain"), "it is taken back")

        await page.locator(".ac-rail").get_by_role("button", name="Dark").click()
        await page.reload()
        assert await page.evaluate("document.documentElement.dataset.theme") == "dark"
        watched.clean()


async def test_it_says_what_is_lost_and_comes_back_as_it_was(cluster: Lively, browser: Browser, tmp_path: Path) -> None:
    async with webapp(tmp_path, cluster.url) as (url, app), visiting(browser, url) as watched:
        page = await watched.open("/nodes?show=offline")
        await expect(page.locator(".ac-node")).to_have_count(1)
        await cluster.stop()
        line = page.locator(".ac-line")
        await expect(line).to_contain_text("The node is not reached")
        await expect(line).to_contain_text("old")
        await cluster.start()
        await expect(line).to_have_count(0)

        app.kill()
        await app.wait()
        await expect(line).to_contain_text("Connection lost")
        port = int(url.rpartition(":")[2])
        async with webapp(tmp_path, cluster.url, port=port):
            await expect(line).to_have_count(0)
            await expect(page.locator(".ac-node")).to_have_count(1)
            assert page.url.endswith("/nodes?show=offline")
        assert watched.outside == []


async def test_it_goes_below_a_path_behind_a_proxy(cluster: Lively, browser: Browser, tmp_path: Path) -> None:
    async with (
        webapp(tmp_path, cluster.url) as (url, _),
        stripping_proxy(url, "/aria", ports.free_port()) as outside,
        visiting(browser, outside) as watched,
    ):
        page = await watched.open("/")
        await page.locator(".ac-rail").get_by_role("link", name="Activity").click()
        await expect(page.locator("h1")).to_have_text("Activity")
        assert page.url == f"{outside}/activity"
        await page.get_by_role("button", name="Leaders").click()
        await page.reload()
        await expect(page.get_by_role("button", name="Leaders")).to_have_attribute("aria-pressed", "true")
        before = await page.evaluate("A.s.n")
        await page.wait_for_function(f"A.s.n > {before}")
        watched.clean()


async def test_numbers_read_the_same_in_the_browser_and_in_python(
    cluster: Lively, browser: Browser, tmp_path: Path
) -> None:
    sizes = [0, 1, 999, 999.4, 999.5, 1000, 9994, 9995, 99_949, 99_950, 999_499, 999_500, 12_345_678, 1.5e12, 9e15]
    spans = [0, 0.4, 8, 59.4, 59.6, 60, 185, 3599, 3600, 7500, 86_399, 86_400, 4e5, 1e8]
    async with webapp(tmp_path, cluster.url) as (url, _), visiting(browser, url) as watched:
        page = await watched.open("/settings")
        said = await page.evaluate(
            "([a, b]) => [a.map(A.format.size), a.map(A.format.speed), b.map(A.format.duration)]", [sizes, spans]
        )
        assert said[0] == [units.size(one) for one in sizes]
        assert said[1] == [units.speed(one) for one in sizes]
        assert said[2] == [units.duration(one) for one in spans]
