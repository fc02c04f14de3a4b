"""Secrets of tasks are sealed wherever the table goes, and opened where they are used."""

import msgspec
import pytest

from ariacluster.domain.commands import Assign
from ariacluster.domain.errors import InvalidInput, NotReady
from ariacluster.domain.snapshot import take
from ariacluster.wire.codec import encode_snapshot
from ariacluster.wire.requests import RelinkRequest, TaskCreate, TaskPatch
from ariacluster_node.services.secrets import Secrets
from tests.support.fake_site import FakeSite, SiteNode, until, working
from tests.support.fake_vault import FakeVault

URL = "http://ada:s3cret-link@origin/file.bin"
CREATE = TaskCreate(
    url=URL, headers=["Cookie: s3cret-cookie"], options={"http-passwd": "s3cret-option", "http-user": "ada"}
)
SECRETS = (b"s3cret-link", b"s3cret-cookie", b"s3cret-option")


@pytest.fixture
async def site() -> FakeSite:
    site = FakeSite()
    await site.up("ab")
    return site


@pytest.fixture
def node(site: FakeSite) -> SiteNode:
    return site.nodes["b"]


def written(node: SiteNode) -> bytes:
    """All that a table would leave on a disk or tell another node."""
    table = node.replica.table
    return b"".join(encode_snapshot(take(table))) + repr(table.tasks).encode()


async def test_the_table_never_has_them(site: FakeSite, node: SiteNode) -> None:
    proposed: list[bytes] = []
    real = node.consensus.propose

    async def propose(payload: bytes, *, timeout: float) -> None:
        proposed.append(payload)
        await real(payload, timeout=timeout)

    node.consensus.propose = propose  # type: ignore[method-assign]
    task = await node.tasks.submit(CREATE, "key")
    assert (await node.tasks.submit(CREATE, "key")).id == task.id, "sealed alike, so it is a repeat"
    await node.tasks.edit(task.id, TaskPatch(headers=["Cookie: s3cret-cookie", "A: s3cret-cookie"], dir="x"))
    await node.tasks.relink(task.id, RelinkRequest(url="http://bob:s3cret-link@origin/file.bin"))
    for place in (b"".join(proposed), written(node), written(site.nodes["a"])):
        assert len(place) > 100 and not any(secret in place for secret in SECRETS)
    shown = msgspec.json.encode(await node.tasks.edit(task.id, TaskPatch(priority="high")))
    assert not any(secret in shown for secret in SECRETS)
    told = node.tasks.show(task.id)
    assert told.secrets == ["password of the link", "header Cookie", "header A", "http-passwd"]
    assert (told.url, told.options["http-passwd"]) == ("http://bob:***@origin/file.bin", "***")


async def test_the_engine_and_the_origin_hear_them(site: FakeSite, node: SiteNode) -> None:
    task = await node.tasks.submit(CREATE, None)
    await site.say(Assign(task.id, 1, node.me.id, "why"))
    async with working(node):
        await until(lambda: task.id in node.downloader.jobs)
    job = node.downloader.jobs[task.id]
    assert (job.urls, list(job.headers)) == ((URL,), ["Cookie: s3cret-cookie"])
    assert job.options["http-passwd"] == "s3cret-option"


async def test_what_was_sealed_for_another_cluster_fails_with_a_sentence(site: FakeSite, node: SiteNode) -> None:
    strange = Secrets(FakeVault(), lambda: b"another cluster's key")
    spec = strange.sealed(node.secrets.opened(node.submitting._checked(CREATE)))
    with pytest.raises(InvalidInput, match="sealed for another cluster"):
        node.secrets.opened(spec)
    mine = msgspec.structs.replace(spec, headers=(), options={}, urls=("http://origin/f",))
    assert node.secrets.opened(mine) is mine
    with pytest.raises(NotReady):
        Secrets(FakeVault(), lambda: None).sealed(node.submitting._checked(CREATE))


async def test_a_table_that_goes_elsewhere_is_sealed_for_there(node: SiteNode) -> None:
    task = await node.tasks.submit(CREATE, None)
    plain = await node.tasks.submit(TaskCreate(url="http://origin/plain"), None)
    old, new = node._key() or b"", b"new key" * 4
    there = node.secrets.resealed(take(node.replica.table), old, new)
    assert there.tasks[plain.id] is node.replica.table.tasks[plain.id]
    spec = Secrets(FakeVault(), lambda: new).opened(there.tasks[task.id].spec)
    assert spec.urls == (URL,) and spec.headers == ("Cookie: s3cret-cookie",)
    assert there == node.secrets.resealed(take(node.replica.table), old, new), "so that all bring the same"
    assert node.secrets.resealed(there, old, new).tasks == there.tasks, "what cannot be opened stays as it is"


async def test_what_grows_too_large_by_being_sealed_is_refused(node: SiteNode) -> None:
    with pytest.raises(InvalidInput, match="24 KB"):
        await node.tasks.submit(TaskCreate(url="http://o/f", headers=[f"H{n}: {'x' * 4000}" for n in range(5)]), None)
