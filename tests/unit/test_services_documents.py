"""Uploads: read, kept by a majority before anything is submitted, fetched where they are lacking, let go of later."""

import base64
import hashlib

import pytest

from ariacluster.domain.commands import Assign, Remove, Start
from ariacluster.domain.document import MAX_TEXT
from ariacluster.domain.errors import Duplicate, InvalidInput, NoQuorum, NotFound, PayloadTooLarge, Unavailable
from ariacluster.wire.requests import RelinkRequest, TaskCreate, TaskPatch
from ariacluster_node.lifecycle import cancelled_at_exit
from ariacluster_node.services import documents as room
from tests.support.fake_site import FakeSite, SiteNode, until, working
from tests.support.torrent import bencode

INFO = b"d6:lengthi7e4:name8:film.iso12:piece lengthi16384e6:pieces20:" + b"x" * 20 + b"e"
TORRENT = b"d4:info" + INFO + b"e"
HASH = hashlib.sha1(INFO).hexdigest()
SET = bencode(
    {
        "info": {
            "name": "set",
            "piece length": 16384,
            "pieces": b"x" * 20,
            "files": [{"length": n, "path": [str(n)]} for n in (1, 20, 300)],
        }
    }
)
METALINK = b"""<metalink xmlns="urn:ietf:params:xml:ns:metalink">
<file name="a.iso"><size>5</size><url>http://o/a</url></file>
<file name="b.iso"><size>6</size><url>http://o/b</url></file></metalink>"""


def upload(data: bytes = TORRENT, **fields: object) -> TaskCreate:
    return TaskCreate(torrent=base64.b64encode(data).decode(), **fields)  # type: ignore[arg-type]


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
async def site() -> FakeSite:
    site = FakeSite()
    await site.up("abc")
    return site


@pytest.fixture
def node(site: FakeSite) -> SiteNode:
    return site.nodes["b"]


async def test_a_torrent_is_known_by_what_is_in_it(site: FakeSite, node: SiteNode) -> None:
    task = await node.tasks.submit(upload(dir="films"), "key")
    assert (task.name, task.document, task.info_hash, task.total_bytes) == ("film.iso", "torrent", HASH, 7)
    assert task.url == f"magnet:?xt=urn:btih:{HASH}&dn=film.iso"
    assert sum(digest(TORRENT) in n.store.kept for n in site.nodes.values()) >= 2, "a majority has it"
    assert (await node.tasks.submit(upload(dir="films"), "key")).id == task.id
    with pytest.raises(Duplicate) as caught:
        await node.tasks.submit(TaskCreate(url=f"magnet:?xt=urn:btih:{HASH.upper()}"), None)
    assert caught.value.task == task.id


async def test_a_metalink_is_a_task_of_its_files(node: SiteNode) -> None:
    create = TaskCreate(metalink=base64.b64encode(METALINK).decode())
    task = await node.tasks.submit(create, None)
    assert (task.name, task.document, task.total_bytes) == ("a.iso and 1 more", "metalink", 11)
    with pytest.raises(Duplicate):
        await node.tasks.submit(create, None)
    edited = await node.tasks.edit(task.id, TaskPatch(dir="x", priority="high"))
    assert (edited.document, edited.dir, edited.name) == ("metalink", "x", task.name)
    with pytest.raises(InvalidInput):
        await node.tasks.edit(task.id, TaskPatch(out="x"))
    relinked = await node.tasks.relink(task.id, RelinkRequest(url="http://o/a"))
    assert (relinked.document, relinked.name) == (None, "a")


async def test_what_was_selected_is_what_counts(site: FakeSite, node: SiteNode) -> None:
    task = await node.tasks.submit(upload(SET, options={"select-file": "3,1"}), None)
    me = node.me.id
    assert task.total_bytes == 301

    async def counted(wanted: str | None, **fields: object) -> int:
        patch = TaskPatch(options={"select-file": wanted}, **fields)  # type: ignore[arg-type]
        return (await node.tasks.edit(task.id, patch)).total_bytes

    await site.say(Assign(task.id, 1, me, "why"), Start(task.id, 1, 16384))
    assert await counted("3,1", dir="x") == 16384, "the same files: what aria2 said holds"
    assert await counted("1-2") == 21
    assert all(n.replica.table.tasks[task.id].size == 21 for n in site.nodes.values())
    assert node.replica.table.tasks[task.id].state == "pending"
    await site.say(Assign(task.id, 2, me, "why"))
    assert node.replica.table.expected_on(me) == 21, "so much is kept free for it"
    assert node.replica.table.history.entries[-2].detail == "options"
    with pytest.raises(InvalidInput, match="from 1 to 3") as caught:
        await counted("4")
    assert caught.value.field == "options.select-file"
    assert await counted(None) == 321


async def test_a_selection_is_not_counted_without_the_document(site: FakeSite, node: SiteNode) -> None:
    task = await node.tasks.submit(upload(SET), None)
    patch = TaskPatch(options={"select-file": "1"})
    kept = {n: dict(n.store.kept) for n in site.nodes.values()}
    for n in site.nodes.values():
        n.store.kept.clear()
    with pytest.raises(Unavailable, match="Try again soon"):
        await node.tasks.edit(task.id, patch)
    assert node.replica.table.tasks[task.id].spec.options == {}
    assert (await node.tasks.edit(task.id, TaskPatch(priority="high"))).total_bytes == 321
    site.nodes["a"].store.kept.update(kept[site.nodes["a"]])
    assert (await node.tasks.edit(task.id, patch)).total_bytes == 1


@pytest.mark.parametrize(("told", "size"), [(5, 11), (16384, 16384)])
async def test_what_aria2_has_not_begun_of_a_metalink_counts_too(
    site: FakeSite, node: SiteNode, told: int, size: int
) -> None:
    task = await node.tasks.submit(TaskCreate(metalink=base64.b64encode(METALINK).decode()), None)
    node.downloader.on_add = lambda job: node.downloader.progress(job.gid, 0, told)
    async with working(node):
        await site.say(Assign(task.id, 1, node.me.id, "why"))
        await until(lambda: node.replica.table.tasks[task.id].state == "downloading")
    assert node.replica.table.tasks[task.id].size == size


@pytest.mark.parametrize(
    ("options", "size"),
    [({"select-file": "2"}, 6), ({"metalink-language": "de"}, 11), ({"select-file": "1", "metalink-os": "x"}, 11)],
)
async def test_of_a_metalink_too_unless_aria2_sifts_it_first(
    node: SiteNode, options: dict[str, str], size: int
) -> None:
    create = TaskCreate(metalink=base64.b64encode(METALINK).decode(), options=options)
    assert (await node.tasks.submit(create, None)).total_bytes == size


@pytest.mark.parametrize(
    ("create", "field"),
    [
        (upload(b"d4:infode"), "torrent"),
        (TaskCreate(torrent="no base64"), "torrent"),
        (TaskCreate(metalink=base64.b64encode(b"<x/>").decode()), "metalink"),
        (upload(url="http://o/f"), "torrent"),
        (upload(out="x"), "out"),
        (upload(dir="../x"), "dir"),
        (upload(checksum="md5=" + "0" * 32), "checksum"),
        (upload(options={"select-file": "2"}), "options.select-file"),
        (upload(SET, options={"select-file": "2-4"}), "options.select-file"),
        (upload(SET, options={"select-file": "2-1"}), "options.select-file"),
    ],
)
async def test_what_cannot_be_used_is_refused_before_anybody_keeps_it(
    site: FakeSite, node: SiteNode, create: TaskCreate, field: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        await node.tasks.submit(create, None)
    assert caught.value.field == field
    assert not any(n.store.kept for n in site.nodes.values())


async def test_too_large_is_told_before_it_is_unpacked(node: SiteNode) -> None:
    with pytest.raises(PayloadTooLarge, match="15,728,640 bytes") as caught:
        await node.tasks.submit(TaskCreate(metalink="!" * (MAX_TEXT + 1)), None)
    assert caught.value.field == "metalink"


async def test_without_a_majority_nothing_is_submitted(site: FakeSite, node: SiteNode) -> None:
    site.documents.cut = {"a:8000", "c:8000"}
    with pytest.raises(NoQuorum, match="nothing was submitted"):
        await node.tasks.submit(upload(), None)
    assert node.replica.table.tasks == {}
    site.documents.cut = {"a:8000"}
    await node.tasks.submit(upload(), None)


async def test_who_lacks_it_fetches_it_and_who_needs_it_no_more_lets_go(
    site: FakeSite, node: SiteNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "LOOK_PERIOD", 0.01)
    site.nodes["a"].store.full = True
    task = await node.tasks.submit(upload(), None)
    other = site.nodes["a"]
    assert other.store.kept == {}
    async with cancelled_at_exit(*(n.documents.run() for n in site.nodes.values())):
        other.store.full = False
        await until(lambda: digest(TORRENT) in other.store.kept)
        await site.say(Remove(task.id))
        site.clock.advance(room.GRACE_S - 1)
        await until(lambda: all(digest(TORRENT) in n.documents._unneeded_since for n in site.nodes.values()))
        assert all(n.store.kept for n in site.nodes.values())
        site.clock.advance(room.GRACE_S + 1)
        await until(lambda: not any(n.store.kept for n in site.nodes.values()))


async def test_the_engine_gets_a_link_on_this_machine(site: FakeSite, node: SiteNode) -> None:
    task = await node.tasks.submit(upload(options={"all-proxy": "http://proxy:1", "no-proxy": "one"}), None)
    await site.say(Assign(task.id, 1, node.me.id, "why"))
    node.store.kept.clear()
    node.documents._here = None
    site.documents.cut = {"a:8000", "c:8000"}
    async with working(node):
        with pytest.raises(Unavailable):
            await node.documents.at_hand(digest(TORRENT))
        assert task.id not in node.downloader.jobs
        site.documents.cut = set()
        await until(lambda: task.id in node.downloader.jobs)
    job = node.downloader.jobs[task.id]
    assert job.urls == (f"http://127.0.0.1:8000/engine/word/{digest(TORRENT)}.torrent",)
    assert job.options["no-proxy"] == "one,127.0.0.1"
    assert await node.documents.give(digest(TORRENT)) == TORRENT
    with pytest.raises(NotFound):
        await node.documents.give("0" * 64)
