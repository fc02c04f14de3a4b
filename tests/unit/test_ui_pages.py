"""The pages of the web app as elements: what they ask of a node, and what they say of its answer."""

from collections.abc import AsyncIterator

import pytest

from ariacluster_ui.shell import Frame, PageHead
from ariacluster_ui.widgets.empty import Empty
from tests.support.lively import Lively
from tests.support.visit import Visitor, visit


@pytest.fixture
async def cluster() -> AsyncIterator[Lively]:
    async with Lively(nodes=3, tasks=50, pace=0) as lively:
        yield lively


@pytest.fixture
async def visitor(cluster: Lively) -> AsyncIterator[Visitor]:
    async with visit(cluster) as one:
        yield one


@pytest.mark.parametrize("path", ["/", "/tasks", "/nodes", "/activity", "/settings"])
async def test_every_page_has_its_head(visitor: Visitor, path: str) -> None:
    await visitor.open(path)
    assert visitor.one(PageHead).props["title"]
    assert visitor.one(Frame)


async def test_a_page_that_is_none_is_told_inside_the_frame(visitor: Visitor) -> None:
    await visitor.open("/")
    await visitor.go("/nothing/of/ours")
    assert visitor.one(Frame)
    assert visitor.one(Empty).props["heading"] == "There is no such page"
