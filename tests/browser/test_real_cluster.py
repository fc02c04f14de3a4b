"""The web app over three real nodes with real downloads: they are added, ordered about and mended, a node is drained, the
leader dies and the crown moves."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Locator, Page, expect

from tests.support import nodes
from tests.support.browser import Watched, chromium, visiting
from tests.support.nodes import Cluster, Node
from tests.support.origin import Origin, serving
from tests.support.processes import until
from tests.support.show import webapp
from tests.support.torrent import Swarm, swarm

pytestmark = pytest.mark.integration

RATE = 400_000


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as running:
        yield running


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with nodes.cluster(tmp_path / "nodes", slots=4) as made:
        yield made


@pytest.fixture
async def origin() -> AsyncIterator[Origin]:
    async with serving() as made:
        yield made


@pytest.fixture
async def album(tmp_path: Path) -> AsyncIterator[Swarm]:
    """A torrent of three files, and somebody who has it."""
    content = tmp_path / "album"
    content.mkdir()
    for number in range(3):
        (content / f"song-{number}.flac").write_bytes(bytes([number]) * 400_000)
    async with swarm(content, tmp_path / "swarm") as made:
        yield made


async def order(page: Page, node: Node, name: str) -> None:
    """From the menu on its card."""
    await page.get_by_role("button", name=f"Orders for {node.name}").click()
    await page.get_by_role("menuitem", name=name).click()


async def status(cluster: Cluster, node: Node) -> str:
    _, body = await next(one for one in cluster.living()).get(f"/nodes/{node.name}")
    return str(body["status"])


async def named(cluster: Cluster, name: str) -> dict[str, Any]:
    """The only download of that name, as the cluster tells it."""

    async def found() -> list[Any]:
        _, body = await cluster.living()[0].get(f"/tasks?q={name}")
        return [task for task in body if task["name"] == name]

    [task] = await until(found, f"{name} is on the list")
    return dict(task)


async def becomes(cluster: Cluster, task: dict[str, Any], state: str, *, on: str | None = None) -> dict[str, Any]:
    async def so() -> dict[str, Any] | None:
        _, now = await cluster.living()[0].get(f"/tasks/{task['id']}")
        return now if now["status"] == state and on in (None, now["worker_name"]) else None

    now: dict[str, Any] | None = await until(so, f"{task['name']} is {state}", timeout=30)
    assert now is not None
    return now


def toast(page: Page, text: str) -> Locator:
    return page.locator(".ac-toast", has_text=text)


async def add_by_the_dialog(page: Page, origin: Origin, album: Swarm, work: Path) -> None:
    """Three links, of which two fail, and a torrent."""
    slow = origin.url("/bytes/30000000/slow.iso", rate=RATE)
    links = (slow, origin.url("/missing.bin"), origin.url("/bytes/70000/shut.bin", fail=403))
    torrent = work / "album.torrent"
    torrent.write_bytes(album.torrent.data)
    await page.keyboard.press("a")
    await page.locator("textarea[name=text]").fill("\n".join(links))
    await page.locator("input[type=file]").set_input_files(torrent)
    await expect(page.locator(".ac-add-files")).to_contain_text("album")
    await page.get_by_role("button", name="Add 4").click()
    await expect(toast(page, "4 downloads added")).to_be_visible()


async def order_one_about(watched: Watched, cluster: Cluster) -> None:
    """Watched, paused and resumed, moved with its bytes; canceled after a question, and off the list but for an Undo."""
    page, task = watched.page, await named(cluster, "slow.iso")
    await watched.open("/tasks?q=slow")
    row = page.locator(f"[data-task='{task['id']}']")
    bar = row.locator(".ac-td-progress .ac-bar i")
    before = await bar.get_attribute("style")
    await expect(bar).not_to_have_attribute("style", before or "")
    await row.get_by_role("link", name="slow.iso").click()
    await expect(page.locator(".ac-pieces i").first).to_be_visible()
    await expect(page.locator(".ac-task-story")).to_contain_text("slow.iso")
    pill = page.locator(".ac-task-top .ac-pill")
    orders = page.locator(".ac-task-do")

    await orders.get_by_role("button", name="Pause").click()
    await expect(pill).to_have_text("Paused")
    await becomes(cluster, task, "paused")
    await toast(page, "is paused").get_by_role("button", name="Undo").click()
    await becomes(cluster, task, "downloading")
    await expect(pill).to_have_text("Downloading")
    await orders.get_by_role("button", name="Pause").click()
    await becomes(cluster, task, "paused")
    await orders.get_by_role("button", name="Resume").click()
    running = await becomes(cluster, task, "downloading")

    await orders.get_by_role("button", name="Further orders").click()
    await page.get_by_role("menuitem", name="Move to a node").click()
    dialog = page.get_by_role("dialog")
    to = next(node.name for node in cluster.living() if node.name != running["worker_name"])
    await dialog.get_by_role("radio", name=to).check()
    await dialog.get_by_role("button", name="Move to a node").click()
    moved = await becomes(cluster, task, "downloading", on=to)
    await expect(page.locator(".ac-task-now")).to_contain_text(to)
    await expect(page.locator(".ac-task-story")).to_contain_text("moved")
    assert moved["attempt"] > running["attempt"]

    await orders.get_by_role("button", name="Further orders").click()
    await page.get_by_role("menuitem", name="Cancel").click()
    assert (await becomes(cluster, task, "downloading"))["id"] == task["id"], "nothing is thrown away before a yes"
    await dialog.get_by_role("button", name="Cancel the download").click()
    await expect(pill).to_have_text("Canceled")
    await becomes(cluster, task, "canceled")

    await watched.open("/tasks?show=canceled")
    await expect(row).to_be_visible()
    await page.keyboard.press("j")
    await page.keyboard.press("Delete")
    await expect(row).to_have_count(0)
    await toast(page, "taken off the list").get_by_role("button", name="Undo").click()
    await expect(row).to_be_visible()
    await becomes(cluster, task, "canceled")


async def mend_what_failed(watched: Watched, cluster: Cluster, origin: Origin) -> None:
    """One fails for its file, one for its link; the page says what to do, and then both are there."""
    page = watched.page
    missing, shut = await named(cluster, "missing.bin"), await named(cluster, "shut.bin")
    await becomes(cluster, missing, "failed")
    await becomes(cluster, shut, "failed")
    advice = page.locator(".ac-task-error")
    await watched.open(f"/tasks/{missing['id']}")
    await expect(page.locator(".ac-failure").first).to_contain_text("Attempt 1 on")
    origin.put("/missing.bin", b"here it is")
    await expect(advice).to_contain_text("A new link to the same file mends it")
    await page.locator(".ac-task-do").get_by_role("button", name="Retry").click()
    await expect(page.locator(".ac-task-pct")).to_have_text("100%")
    done = await becomes(cluster, missing, "completed")
    assert cluster.path(done).read_bytes() == b"here it is"

    await watched.open(f"/tasks/{shut['id']}")
    await advice.get_by_role("button", name="New link").click()
    await page.locator("dialog input[name=url]").fill(origin.url("/bytes/70000/shut.bin"))
    await page.get_by_role("dialog").get_by_role("button", name="New link").click()
    await expect(page.locator(".ac-task-pct")).to_have_text("100%")
    done = await becomes(cluster, shut, "completed")
    assert cluster.path(done).read_bytes() == origin.body("/bytes/70000/shut.bin")


async def add_what_is_there(page: Page, link: str) -> None:
    """What another one fetches is refused, with the way to that one."""
    await page.keyboard.press("a")
    await page.locator("textarea[name=text]").fill(link)
    await page.locator("dialog button[type=submit]").click()
    refused = page.locator(".ac-add-refused")
    await expect(refused).to_contain_text("disk-0.iso")
    await expect(refused.get_by_role("button", name="Add them all the same")).to_be_visible()
    await refused.get_by_role("link", name="Show it").click()
    await expect(page.get_by_role("dialog")).to_have_count(0)
    await expect(page.locator("h1")).to_have_text("disk-0.iso")


@pytest.mark.timeout(240)
async def test_a_cluster_is_watched_and_ordered_about(
    cluster: Cluster, origin: Origin, album: Swarm, browser: Browser, tmp_path: Path
) -> None:
    leader = await cluster.leader()
    others = [node for node in cluster.nodes if node is not leader]
    for number in range(5):
        url = origin.url(f"/bytes/30000000/disk-{number}.iso", rate=RATE)
        assert (await leader.post("/tasks", {"url": url}))[0] == 201
    doors = [f"http://{node.address}" for node in (leader, *others)]
    async with webapp(tmp_path, *doors) as (url, _), visiting(browser, url) as watched:
        page = await watched.open("/")
        await expect(page.locator(".ac-sub")).to_contain_text("All 3 nodes online")
        crowned = page.locator(".ac-star-leader .ac-name")
        await expect(crowned).to_have_text(leader.name)
        await expect(page.locator(".ac-fast-row")).to_have_count(5)
        bar = page.locator(".ac-fast-row").first.locator(".ac-bar i")
        before = await bar.get_attribute("style")
        await expect(bar).not_to_have_attribute("style", before or "")

        await page.locator(".ac-rail").get_by_role("link", name="Nodes").click()
        await order(page, others[0], "Drain")
        await page.get_by_role("dialog").get_by_role("button", name="Drain").click()
        await expect(page.locator(".ac-node", has_text=others[0].name).locator(".ac-pill")).to_contain_text("Draining")
        assert await status(cluster, others[0]) == "draining"
        await page.get_by_role("link", name=others[0].name).click()
        await expect(page.locator("h1")).to_have_text(others[0].name)
        await page.get_by_role("button", name="Take tasks again").click()

        async def takes() -> bool:
            return await status(cluster, others[0]) in ("online", "busy")

        await until(takes, "it takes tasks again")

        await add_by_the_dialog(page, origin, album, tmp_path)
        await order_one_about(watched, cluster)
        await mend_what_failed(watched, cluster, origin)
        await add_what_is_there(page, origin.url("/bytes/30000000/disk-0.iso", rate=RATE))
        songs = await becomes(cluster, await named(cluster, "album"), "completed")
        await watched.open(f"/tasks/{songs['id']}")
        await expect(page.locator(".ac-task-files")).to_contain_text("song-2.flac")
        await watched.open("/")

        await page.locator(".ac-rail").get_by_role("link", name="Dashboard").click()
        await expect(crowned).to_have_text(leader.name)
        await leader.kill()
        new = await cluster.leader(timeout=20)
        await expect(crowned).to_have_text(new.name)
        await expect(page.locator(".ac-feed")).to_contain_text(f"{new.name} leads")
        await expect(page.locator(".ac-problem")).to_contain_text(f"{leader.name} is offline")
        await expect(page.locator(".ac-line")).to_have_count(0)

        await leader.start("--slots", "4", "--no-mdns")
        await expect(page.locator(".ac-problem")).to_have_count(0)
        await expect(page.locator(".ac-sub")).to_contain_text("All 3 nodes online")
        watched.clean()
