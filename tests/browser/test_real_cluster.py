"""The web app over three real nodes with real downloads: they are seen, one is drained, the leader dies and the crown moves."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, expect

from tests.support import nodes
from tests.support.browser import chromium, visiting
from tests.support.nodes import Cluster, Node
from tests.support.origin import Origin, serving
from tests.support.processes import until
from tests.support.show import webapp

pytestmark = pytest.mark.integration

RATE = 400_000


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as running:
        yield running


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with nodes.cluster(tmp_path / "nodes", slots=2) as made:
        yield made


@pytest.fixture
async def origin() -> AsyncIterator[Origin]:
    async with serving() as made:
        yield made


async def order(page: Page, node: Node, name: str) -> None:
    """From the menu on its card."""
    await page.get_by_role("button", name=f"Orders for {node.name}").click()
    await page.get_by_role("menuitem", name=name).click()


async def status(cluster: Cluster, node: Node) -> str:
    _, body = await next(one for one in cluster.living()).get(f"/nodes/{node.name}")
    return str(body["status"])


@pytest.mark.timeout(180)
async def test_a_cluster_is_watched_and_ordered_about(
    cluster: Cluster, origin: Origin, browser: Browser, tmp_path: Path
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

        await page.locator(".ac-rail").get_by_role("link", name="Dashboard").click()
        await expect(crowned).to_have_text(leader.name)
        await leader.kill()
        new = await cluster.leader(timeout=20)
        await expect(crowned).to_have_text(new.name)
        await expect(page.locator(".ac-feed")).to_contain_text(f"{new.name} leads")
        await expect(page.locator(".ac-problem")).to_contain_text(f"{leader.name} is offline")
        await expect(page.locator(".ac-line")).to_have_count(0)

        await leader.start("--slots", "2", "--no-mdns")
        await expect(page.locator(".ac-problem")).to_have_count(0)
        await expect(page.locator(".ac-sub")).to_contain_text("All 3 nodes online")
        watched.clean()
