"""One download's page and the dialog for new ones: rows, what is read of pasted text, and what is asked of a node."""

from collections.abc import AsyncIterator

import msgspec
import pytest

from ariacluster.domain.document import MAX_DOCUMENT
from ariacluster.domain.errors import InvalidInput, PayloadTooLarge, Unavailable
from ariacluster.wire.problems import Problem
from ariacluster.wire.requests import TaskPatch
from ariacluster.wire.resources import BatchItem, LiveFile, LiveResource
from ariacluster_ui.documents import KEPT_BYTES, Documents
from ariacluster_ui.pages.adding import wishes_of
from ariacluster_ui.pages.task_orders import patch_of, tags_of
from ariacluster_ui.presenters.adding import left_over, looked_at, refusals
from ariacluster_ui.presenters.task import CELLS, LISTED, LOOKS, ORDERS, cells, detail_row, kind_of, live_row
from ariacluster_ui.shell import Frame, PageHead
from ariacluster_ui.widgets.adding import Adder
from ariacluster_ui.widgets.ask import Ask
from ariacluster_ui.widgets.empty import Empty
from ariacluster_ui.widgets.task import TaskDetail
from tests.support.fake_node import failed, running, task
from tests.support.lively import Lively
from tests.support.processes import until
from tests.support.torrent import bencode, padded
from tests.support.visit import Visitor, visit

TORRENT = bencode({"info": {"name": "set", "piece length": 4, "pieces": b"x" * 20, "length": 3}})
BAD = Problem(title="", status=409, detail="Another task fetches the same.", code="duplicate", task="a" * 16)


class TestPieces:
    def test_each_cell_tells_how_much_of_it_is_there(self) -> None:
        assert cells("f0", 8) == "88880000"
        assert cells("ff" * 60, 480) == "8" * CELLS
        assert cells("aa" * 60, 480) == "4" * CELLS, "of two pieces one"
        assert cells("80", 1) == "8"

    @pytest.mark.parametrize(("pieces", "count"), [("", 0), ("", 9), ("ff", 9), ("no", 8), ("ff", 0)])
    def test_what_makes_no_sense_is_no_picture(self, pieces: str, count: int) -> None:
        assert cells(pieces, count) == ""

    def test_the_last_piece_alone_stands_in_the_last_cell(self) -> None:
        bits = 1_000_003
        told = cells("00" * (bits // 8) + f"{1 << (8 - bits % 8):02x}", bits)
        assert len(told) == CELLS and set(told) == {"0"}, "one of thousands does not make a step"


class TestRow:
    def test_every_state_has_a_look_and_orders(self) -> None:
        assert LOOKS.keys() == ORDERS.keys()

    def test_what_failed_says_why(self) -> None:
        row = detail_row(task(1, **failed("The server says 404.")))
        assert (row["status"], row["error"]) == ("failed", "The server says 404.")
        assert row["orders"][0] == "retry"

    def test_why_it_is_where_it_is_does_not_name_the_node_twice(self) -> None:
        row = detail_row(task(1, **running(1, 2) | {"reason": "alpha: 3 of 5 slots free"}))
        assert (row["here"], row["reason"]) == (True, "3 of 5 slots free")
        row = detail_row(task(1, reason="No online node has tag gpu=yes."))
        assert (row["here"], row["reason"]) == (False, "No online node has tag gpu=yes.")

    def test_files_that_are_not_told_are_counted(self) -> None:
        live = LiveResource(
            id="a", running=True, files=[LiveFile(path=str(n), length=1, completed=0) for n in range(500)]
        )
        row = live_row(live)
        assert (len(row["files"]), row["file_count"]) == (LISTED, 500)

    def test_what_kind_it_is(self) -> None:
        assert kind_of(task(1, url="magnet:?xt=urn:btih:x")) == "magnet"
        assert kind_of(task(1, document="torrent")) == "torrent"

    def test_live(self) -> None:
        live = LiveResource(
            id="a", running=True, piece_count=8, pieces="ff", files=[LiveFile(path="x", length=2, completed=1)]
        )
        assert live_row(live)["files"] == [["x", 2, 1, True]]


class TestPasted:
    def test_it_is_counted_and_what_is_wrong_is_told(self) -> None:
        told = looked_at("http://a.example/1\n\nmagnet:?xt=urn:btih:" + "a" * 40 + "\nnot a link\n out=x\n # no\n")
        assert (told["links"], told["magnets"], told["bad"]) == (1, 1, 1)
        assert told["wrong"][0]["line"] == 4 and told["wrong"][0]["text"] == "not a link"

    def test_what_was_refused_stays_with_what_stands_below_it(self) -> None:
        text = "http://a/\n out=x\nhttp://b/\nhttp://c/\n out=y"
        assert left_over(text, {1: BatchItem(problem=BAD)}) == "http://a/\n out=x"
        assert left_over(text, {3: BatchItem(), 4: BatchItem()}) == "http://b/\nhttp://c/\n out=y"
        assert refusals({"http://a/": BatchItem(problem=BAD)})[0]["task"] == "a" * 16

    def test_wishes(self) -> None:
        wished = wishes_of(
            {"tags": "gpu=yes, x=1", "headers": "A: b\n\nC: d", "dir": " isos ", "paused": True}, force=False
        )
        assert (wished.tags, wished.headers, wished.dir, wished.paused) == (
            {"gpu": "yes", "x": "1"},
            ["A: b", "C: d"],
            "isos",
            True,
        )
        with pytest.raises(InvalidInput, match="no tag"):
            wishes_of({"tags": "gpu"}, force=False)
        with pytest.raises(InvalidInput):
            wishes_of({"not_before": "tomorrow"}, force=False)

    def test_tags(self) -> None:
        assert tags_of("", "tags") == {}
        assert tags_of("a=1,\nb = 2=3", "tags") == {"a": "1", "b": "2=3"}

    def test_an_edit_names_what_was_changed(self) -> None:
        row = task(1, tags={"a": "1"})
        assert patch_of({}, row) == TaskPatch()
        assert patch_of({"tags": "b=2"}, row) == TaskPatch(tags={"a": None, "b": "2"})
        assert patch_of({"priority": "high", "node": "nas"}, row) == TaskPatch(priority="high", node="nas")
        with pytest.raises(InvalidInput):
            patch_of({"max_attempts": "many"}, row)


class TestDocuments:
    async def test_one_is_kept_until_it_is_dropped(self) -> None:
        documents = Documents()
        token, kept = await documents.keep(TORRENT)
        assert (kept.kind, kept.name, kept.size) == ("torrent", "set", 3)
        assert documents.take(token) is kept
        documents.drop(token)
        with pytest.raises(InvalidInput, match="drop it once more"):
            documents.take(token)

    async def test_what_is_none_is_refused(self) -> None:
        with pytest.raises(InvalidInput):
            await Documents().keep(b"<html>")
        with pytest.raises(PayloadTooLarge):
            await Documents().keep(bytes(MAX_DOCUMENT + 1))

    async def test_the_oldest_go_first(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("ariacluster_ui.documents.KEPT_BYTES", len(TORRENT) + 1)
        documents = Documents()
        first, _ = await documents.keep(TORRENT)
        second, _ = await documents.keep(TORRENT)
        documents.take(second)
        with pytest.raises(InvalidInput):
            documents.take(first)
        assert KEPT_BYTES > MAX_DOCUMENT, "any single one is kept"


@pytest.fixture
async def cluster() -> AsyncIterator[Lively]:
    async with Lively(nodes=3, tasks=50, pace=0) as lively:
        yield lively


@pytest.fixture
async def visitor(cluster: Lively) -> AsyncIterator[Visitor]:
    async with visit(cluster) as one:
        yield one


class TestPage:
    async def test_it_is_shown_and_paused_and_taken_back(self, cluster: Lively, visitor: Visitor) -> None:
        row = next(iter(cluster.active.values()))
        await visitor.open(f"/tasks/{row.id}")
        await until(lambda: visitor.one(PageHead).props["title"] == row.name, "its name is the title")
        assert (await visitor.news("task_live"))["row"]["id"] == row.id
        await visitor.emit(TaskDetail, "act", {"verb": "pause"})
        toast = await visitor.told("is paused")
        assert cluster.said[-1][1] == f"/tasks/{row.id}/pause"
        await visitor.emit(Frame, "toast", toast["id"])
        await until(lambda: cluster.said[-1][1].endswith("/resume"), "it is taken back")

    async def test_an_order_is_shown_when_it_is_done_and_stays_so_while_the_stream_is_behind(
        self, cluster: Lively, visitor: Visitor
    ) -> None:
        row = next(iter(cluster.active.values()))
        await visitor.open(f"/tasks/{row.id}")
        await until(lambda: row.id in visitor.store.tasks, "it is followed")
        await visitor.ticks()
        visitor.scripts.clear()
        await visitor.emit(TaskDetail, "act", {"verb": "pause"})
        assert (await visitor.news("task"))["row"]["status"] == "paused"
        assert visitor.store.tasks[row.id].status == "downloading", "nobody has told the stream"
        await visitor.ticks(2)
        assert not any('"status":"downloading"' in code for code in visitor.scripts if '"k":"task"' in code)

    async def test_what_the_node_refuses_is_said_in_the_question(self, cluster: Lively, visitor: Visitor) -> None:
        row = next(iter(cluster.active.values()))
        await visitor.open(f"/tasks/{row.id}")
        await until(lambda: visitor.one(PageHead).props["title"] == row.name, "its name is the title")
        cluster.refusals.append(Unavailable("Nobody leads right now."))
        await visitor.emit(TaskDetail, "act", {"verb": "cancel"})
        await visitor.emit(Ask, "yes", {})
        await until(lambda: visitor.one(Ask).props["error"] == "Nobody leads right now.", "it is said in the question")

    async def test_who_listens_late_is_told_anew(self, cluster: Lively, visitor: Visitor) -> None:
        row = next(row for row in cluster.tasks.values() if row.status == "completed")
        await visitor.open(f"/tasks/{row.id}")
        await visitor.news("task_story")
        visitor.scripts.clear()
        await visitor.emit(TaskDetail, "ready")
        assert (await visitor.news("task"))["row"]["id"] == row.id
        await visitor.news("task_story")

    async def test_a_link_to_none_is_told(self, visitor: Visitor) -> None:
        await visitor.open("/tasks/ffffffffffffffff")
        assert (await visitor.shown(Empty)).props["heading"] == "There is no such download"

    @pytest.mark.parametrize(
        ("verb", "values", "said"),
        [
            ("relink", {"url": "http://new.example/x"}, ("POST", "/relink")),
            ("edit", {"priority": "urgent"}, ("PATCH", "")),
            ("remove", {}, ("DELETE", "")),
            ("cancel", {}, ("POST", "/cancel")),
        ],
    )
    async def test_what_is_asked_before_it_is_done(
        self, cluster: Lively, visitor: Visitor, verb: str, values: dict[str, str], said: tuple[str, str]
    ) -> None:
        row = next(iter(cluster.active.values()))
        await visitor.open(f"/tasks/{row.id}")
        await until(lambda: visitor.one(PageHead).props["title"] == row.name, "its name is the title")
        before = len(cluster.said)
        await visitor.emit(TaskDetail, "act", {"verb": verb})
        await visitor.shown(Ask)
        assert len(cluster.said) == before
        await visitor.emit(Ask, "yes", values)
        await until(
            lambda: cluster.said and cluster.said[-1][:2] == (said[0], f"/tasks/{row.id}{said[1]}"), "it is done"
        )


class TestAdder:
    async def test_what_is_typed_is_looked_at(self, visitor: Visitor) -> None:
        await visitor.open("/")
        await visitor.emit(Adder, "look", {"number": 7, "text": "http://a.example/x\nno link"})
        news = await visitor.news("add_look")
        assert (news["number"], news["links"], news["bad"]) == (7, 1, 1)

    async def test_links_are_submitted_and_taken_back(self, cluster: Lively, visitor: Visitor) -> None:
        await visitor.open("/")
        before = len(cluster.said)
        values = {"tags": "gpu=yes", "paused": True}
        await visitor.emit(
            Adder, "submit", {"text": "http://a.example/x\nhttp://b.example/y", "values": values, "key": "k"}
        )
        news = await visitor.news("add_done")
        assert (news["accepted"], news["refused"]) == (2, [])
        method, path, body = cluster.said[before]
        assert (method, path) == ("POST", "/tasks/import")
        assert msgspec.to_builtins(body)["defaults"]["paused"] is True
        toast = await visitor.told("2 downloads added")
        await visitor.emit(Frame, "toast", toast["id"])
        await until(lambda: cluster.said[-1][1] == "/tasks/bulk", "they are taken back")

    async def test_nothing_is_said_to_be_nothing(self, visitor: Visitor) -> None:
        await visitor.open("/")
        await visitor.emit(Adder, "submit", {"text": " ", "files": [], "values": {}})
        assert (await visitor.news("add_done"))["error"] == "Paste a link, or drop a file."
        await visitor.emit(Adder, "submit", {"text": "", "files": ["gone"], "values": {}})
        await until(
            lambda: any("drop it once more" in script for script in visitor.scripts), "a file that is gone is told"
        )

    async def test_a_torrent_is_read_and_submitted(self, cluster: Lively, visitor: Visitor) -> None:
        await visitor.open("/")
        answer = await visitor.user.http_client.post("/ui/document", content=TORRENT)
        told = answer.json()
        assert (told["kind"], told["name"], told["size"]) == ("torrent", "set", 3)
        await visitor.emit(Adder, "submit", {"text": "", "files": [told["token"]], "values": {}})
        assert (await visitor.news("add_done"))["accepted"] == 1
        largest = await visitor.user.http_client.post("/ui/document", content=padded(TORRENT, MAX_DOCUMENT))
        assert largest.status_code == 200
        larger = await visitor.user.http_client.post("/ui/document", content=padded(TORRENT, MAX_DOCUMENT + 1))
        assert larger.status_code == 413 and "larger than 15 MiB" in larger.json()["detail"]
        refused = await visitor.user.http_client.post("/ui/document", content=b"<html>")
        assert refused.status_code == 400 and "Metalink" in refused.json()["detail"]
