"""The list of downloads in a real browser over a lively cluster: hands, many at once, undo, names that mean harm."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, Locator, Page, expect

from tests.support.browser import Theme, chromium, visiting
from tests.support.lively import Lively
from tests.support.processes import until
from tests.support.show import webapp

pytestmark = pytest.mark.integration

HOSTILE = (
    '<img src=x onerror="window.pwned=1">{{constructor.constructor("window.pwned=2")()}}</script>${1}\u202egnp.exe 🎉 '
    + "very-" * 60
    + "long"
)
ARABIC = "تقرير المبيعات السنوي 2026.pdf"


@pytest.fixture
async def cluster() -> AsyncIterator[Lively]:
    async with Lively(nodes=4, tasks=300) as lively:
        yield lively


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as running:
        yield running


def rows(page: Page) -> Locator:
    return page.locator("[data-task]")


@pytest.mark.parametrize(("theme", "phone"), [("light", True), ("dark", False)])
async def test_clean_with_names_that_mean_harm(
    cluster: Lively, browser: Browser, tmp_path: Path, theme: Theme, phone: bool
) -> None:
    one, other = list(cluster.active.values())[:2]
    one.name, other.name = HOSTILE, ARABIC
    one.tags = {"<b>": "{{1}}", ":x": "alert(1)", "long": "x" * 200}
    async with webapp(tmp_path, cluster.url) as (url, _), visiting(browser, url, theme=theme, phone=phone) as watched:
        page = await watched.open("/tasks?show=downloading")
        await expect(page.get_by_text("onerror")).to_be_visible()
        await expect(page.get_by_text(ARABIC)).to_be_visible()
        percent = page.locator(".ac-td-progress .ac-num").first
        before = await percent.text_content()
        await expect(percent).not_to_have_text(before or "")
        assert await watched.violations() == []
        await rows(page).nth(0).get_by_role("checkbox").click()
        await expect(page.get_by_role("toolbar")).to_be_visible()
        assert await watched.violations() == []
        assert await page.evaluate("document.documentElement.scrollWidth") <= (390 if phone else 1440)
        await rows(page).nth(0).click(button="right", position={"x": 120, "y": 12})
        menu = page.get_by_role("menu")
        await expect(menu.get_by_role("menuitem").first).to_be_focused()
        assert await watched.violations() == []
        await page.keyboard.press("Escape")
        await expect(menu).to_have_count(0)
        await page.locator("[data-ac-search]").fill("</script>${1}")
        await expect(rows(page)).to_have_count(1)
        await page.locator("[data-ac-search]").fill('$& "nothing" {q}')
        await expect(page.locator(".ac-empty")).to_contain_text('$& "nothing" {q}')
        assert await watched.violations() == []
        assert await page.evaluate("window.pwned") is None
        watched.clean()


async def test_hands_on_the_keyboard(cluster: Lively, browser: Browser, tmp_path: Path) -> None:
    async with webapp(tmp_path, cluster.url) as (url, _), visiting(browser, url) as watched:
        page = await watched.open("/tasks?show=completed&sort=name")
        await expect(rows(page)).to_have_count(50)
        await page.keyboard.press("/")
        await expect(page.locator("[data-ac-search]")).to_be_focused()
        await page.keyboard.type("jxp")  # what is typed is no order
        await expect(page).to_have_url(f"{url}/tasks?show=completed&sort=name&q=jxp")
        await page.locator("[data-ac-search]").fill("")
        await page.keyboard.press("Escape")
        await expect(rows(page)).to_have_count(50)

        await page.keyboard.press("j")
        await page.keyboard.press("j")
        here = rows(page).nth(1)
        await expect(here.locator("a").first).to_be_focused()
        await page.keyboard.press("x")
        await expect(here.get_by_role("checkbox")).to_be_checked()
        await page.keyboard.press("Shift+J")
        await expect(page.locator(".ac-bulk")).to_contain_text("2 chosen")
        await page.keyboard.press("Escape")
        await expect(page.locator(".ac-bulk")).to_have_count(0)
        await page.keyboard.press("Control+a")
        await expect(page.locator(".ac-bulk")).to_contain_text("50 chosen")
        await page.keyboard.press("Control+a")
        total = sum(row.status == "completed" for row in cluster.tasks.values())
        await expect(page.locator(".ac-bulk b")).to_have_text(f"{total} chosen")
        await page.keyboard.press("Escape")

        await page.keyboard.press("?")
        await expect(page.get_by_role("dialog")).to_contain_text("down and up the list")
        await page.keyboard.press("j")  # nothing is done behind it
        assert await watched.violations() == []
        await page.keyboard.press("Escape")
        await expect(page.get_by_role("dialog")).to_have_count(0)
        await page.keyboard.press("k")
        await page.keyboard.press("k")
        await page.keyboard.press("k")
        await page.keyboard.press("Enter")
        await expect(page.locator("h1")).to_have_text(min(names_of(cluster, "completed"), key=str.casefold))
        await page.go_back()
        await expect(page).to_have_url(f"{url}/tasks?show=completed&sort=name")
        await expect(rows(page)).to_have_count(50)
        await page.keyboard.press("k")  # from nowhere up: the last one; and down from there is the next page
        await page.keyboard.press("j")
        await expect(page).to_have_url(f"{url}/tasks?show=completed&sort=name&page=2")
        await expect(rows(page).nth(0).locator("a").first).to_be_focused()
        watched.clean()


def names_of(cluster: Lively, status: str) -> list[str]:
    return [row.name for row in cluster.tasks.values() if row.status == status]


async def test_many_at_once_and_back(cluster: Lively, browser: Browser, tmp_path: Path) -> None:
    async with webapp(tmp_path, cluster.url) as (url, _), visiting(browser, url) as watched:
        page = await watched.open("/tasks?show=downloading&sort=name")
        await expect(rows(page).nth(4)).to_be_visible()
        await rows(page).nth(0).get_by_role("checkbox").click()
        await rows(page).nth(3).get_by_role("checkbox").click(modifiers=["Shift"])
        bulk = page.locator(".ac-bulk")
        await expect(bulk).to_contain_text("4 chosen")
        await expect(page.locator("[data-task] input:checked")).to_have_count(4)
        await rows(page).nth(2).get_by_role("checkbox").click(modifiers=["Shift"])  # chosen already, and stays so
        await expect(page.locator("[data-task] input:checked")).to_have_count(4)
        ids = [await rows(page).nth(i).get_attribute("data-task") or "" for i in range(4)]
        await bulk.get_by_role("button", name="Pause").click()
        await expect(page.locator(".ac-toast")).to_contain_text("4 downloads paused")
        await until(lambda: {cluster.tasks[one].status for one in ids} == {"paused"}, "they are paused")
        await page.keyboard.press("z")
        await until(lambda: "paused" not in {cluster.tasks[one].status for one in ids}, "they go on")

        await page.goto(f"{url}/tasks?show=failed")
        await page.locator(".ac-th input[type=checkbox]").click()
        await expect(bulk.get_by_role("button", name="Pause")).to_have_count(0)
        await bulk.get_by_role("button", name="Retry").click()
        await until(lambda: not names_of(cluster, "failed"), "they are tried anew")
        await expect(page.locator(".ac-empty")).to_contain_text("Nothing has failed")

        await page.goto(f"{url}/tasks?show=completed&q=iso")
        await page.locator(".ac-th input[type=checkbox]").click()
        before = [name for name in names_of(cluster, "completed") if "iso" in name]
        await bulk.get_by_role("button", name="that match").click()
        await bulk.get_by_role("button", name="Remove").click()
        question = page.get_by_role("dialog")
        await expect(question).to_contain_text(f"Remove {len(before)} downloads?")
        await expect(question.get_by_role("button", name="Keep them")).to_be_focused()
        await question.get_by_role("button", name="Remove them").click()
        await expect(question).to_have_count(0)
        assert not [name for name in names_of(cluster, "completed") if "iso" in name and name in before]
        watched.clean()


async def test_a_removal_is_undone_or_done(cluster: Lively, browser: Browser, tmp_path: Path) -> None:
    async with webapp(tmp_path, cluster.url) as (url, _), visiting(browser, url) as watched:
        page = await watched.open("/tasks?show=paused&sort=name")
        first, second = [await rows(page).nth(i).get_attribute("data-task") or "" for i in range(2)]
        await page.keyboard.press("j")
        await page.keyboard.press("Delete")
        await expect(page.locator(f"[data-task='{first}']")).to_have_count(0)
        await expect(page.locator(f"[data-task='{second}'].ac-at")).to_be_visible()  # the hand is on the next one
        await page.get_by_role("button", name="Undo").click()
        await expect(page.locator(f"[data-task='{first}']")).to_be_visible()
        assert cluster.said == []
        await page.keyboard.press("Delete")
        await page.keyboard.press("g")
        await page.keyboard.press("n")
        await expect(page.locator("h1")).to_have_text("Nodes")
        await until(lambda: second not in cluster.tasks, "it is removed, whatever page is shown")
        assert first in cluster.tasks
        watched.clean()


async def test_what_is_about_to_be_removed_is_removed_before_the_end(
    cluster: Lively, browser: Browser, tmp_path: Path
) -> None:
    async with webapp(tmp_path, cluster.url) as (url, app), visiting(browser, url) as watched:
        page = await watched.open("/tasks?show=paused&sort=name")
        victim = await rows(page).nth(0).get_attribute("data-task") or ""
        await page.keyboard.press("j")
        await page.keyboard.press("Delete")
        await expect(page.get_by_role("button", name="Undo")).to_be_visible()
        assert victim in cluster.tasks
        await app.stop()
        assert victim not in cluster.tasks


async def test_rows_keep_their_places_under_the_hand(cluster: Lively, browser: Browser, tmp_path: Path) -> None:
    async with webapp(tmp_path, cluster.url) as (url, _), visiting(browser, url) as watched:
        page = await watched.open("/tasks?show=downloading&sort=-size")
        await expect(rows(page).nth(4)).to_be_visible()
        order = [await rows(page).nth(i).get_attribute("data-task") or "" for i in range(5)]
        await rows(page).nth(2).get_by_role("checkbox").click()
        cluster.tasks[order[4]].total *= 1000  # the last of them would be the first now
        cluster.step()
        looks = "performance.now() > window.since + 5000"  # two looks and more
        await page.evaluate("window.since = performance.now()")
        await page.wait_for_function(looks)
        assert [await rows(page).nth(i).get_attribute("data-task") for i in range(5)] == order
        await page.keyboard.press("Escape")
        await expect(rows(page).nth(0)).to_have_attribute("data-task", order[4])
        watched.clean()


async def test_the_view_is_in_the_url(cluster: Lively, browser: Browser, tmp_path: Path) -> None:
    node = cluster.nodes[1].name
    async with webapp(tmp_path, cluster.url) as (url, _), visiting(browser, url) as watched:
        page = await watched.open("/tasks")
        await page.get_by_role("button", name="Completed").click()
        await page.get_by_label("On which node").select_option(node)
        await page.get_by_label("With which tag").select_option("kind=linux")
        await page.get_by_role("button", name="Size").click()
        await expect(page.locator("[aria-sort=descending]")).to_have_text("Size")
        await expect(page).to_have_url(f"{url}/tasks?show=completed&node={node}&tag=kind%3Dlinux&sort=-size")
        await expect(rows(page).locator(".ac-td-node").first).to_have_text(node)
        shown = await page.locator(".ac-td-text > a").all_text_contents()
        await page.reload()
        await expect(page.locator(".ac-td-text > a").first).to_have_text(shown[0])
        assert await page.locator(".ac-td-text > a").all_text_contents() == shown
        await page.goto(f"{url}/tasks?node=nowhere")
        await expect(page.locator(".ac-empty")).to_be_visible()
        await page.get_by_role("button", name="Clear the filter").click()
        await expect(rows(page)).to_have_count(50)
        watched.clean()


async def test_a_finger_long_on_a_card(cluster: Lively, browser: Browser, tmp_path: Path) -> None:
    async with webapp(tmp_path, cluster.url) as (url, _), visiting(browser, url, phone=True) as watched:
        page = await watched.open("/tasks?show=downloading")
        row = rows(page).nth(1)
        await expect(row).to_be_visible()
        task = await row.get_attribute("data-task") or ""
        finger = {"pointerType": "touch", "clientX": 120, "clientY": 300, "bubbles": True}
        await row.dispatch_event("pointerdown", finger)
        await expect(page.get_by_role("menu")).to_be_visible()
        await row.dispatch_event("pointerup", finger)
        await row.locator("a").first.dispatch_event("click")  # of the finger that is lifted: nothing is opened
        await expect(page.get_by_role("menu")).to_be_visible()
        await page.get_by_role("menuitem", name="Pause").click()
        await until(lambda: cluster.tasks[task].status == "paused", "it is paused")
        assert page.url.endswith("/tasks?show=downloading")
        await expect(page.get_by_role("button", name="Undo")).to_be_visible()
        await page.locator(".ac-fab").click(trial=True)  # what is told in passing does not lie over it
        watched.clean()


async def test_nothing_yet_teaches_how_it_begins(browser: Browser, tmp_path: Path) -> None:
    async with (
        Lively(nodes=2, tasks=0) as cluster,
        webapp(tmp_path, cluster.url) as (url, _),
        visiting(browser, url) as watched,
    ):
        page = await watched.open("/tasks")
        await expect(page.locator(".ac-empty")).to_contain_text("No downloads yet")
        await expect(page.locator(".ac-empty code")).to_contain_text("ariacluster add")
        assert await watched.violations() == []
        cluster.add("the-first.iso")
        cluster.step()
        await expect(page.get_by_text("the-first.iso")).to_be_visible()
        watched.clean()
