"""The list of downloads: rows, views, what is asked of a node, and what can be taken back."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from ariacluster.domain.errors import Unavailable
from ariacluster.domain.task import TaskState
from ariacluster.wire.routes import TASK_BULK_VERBS
from ariacluster_ui import site
from ariacluster_ui.catalogue import ENGLISH
from ariacluster_ui.pages import orders, removals, tasks
from ariacluster_ui.presenters.task import LOOKS, ORDERS, VERBS
from ariacluster_ui.presenters.tasks import PAGE, TABS, changed_rows, filter_of, list_row, view_of
from ariacluster_ui.shell import Frame, PageHead
from ariacluster_ui.widgets.ask import Ask
from ariacluster_ui.widgets.nodes import NodeCards
from ariacluster_ui.widgets.tasks import TaskList
from tests.support.fake_node import failed, task
from tests.support.lively import Lively
from tests.support.processes import until
from tests.support.visit import Visitor, visit

STATES = {state.value for state in TaskState}


class TestRow:
    def test_it_says_why_it_is_there_why_it_waits_and_what_went_wrong(self) -> None:
        assert list_row(task(1, status="downloading", reason="the fewest downloads"))["why"] == "the fewest downloads"
        assert list_row(task(1, status="pending", reason="no node has a free slot"))["why"] == "no node has a free slot"
        assert list_row(task(1, **failed("The server says 404.")))["why"] == "The server says 404."

    def test_what_is_complete_needs_no_reason(self) -> None:
        assert list_row(task(1, status="completed", reason="the fewest downloads"))["why"] == ""

    def test_only_what_is_new_is_told_again(self) -> None:
        before, now = list_row(task(1)), list_row(task(1, completed_bytes=5))
        [news] = changed_rows({before["id"]: before}, {now["id"]: now})
        assert news == {"id": now["id"], "done": 5}
        assert changed_rows({now["id"]: now}, {now["id"]: now}) == []
        assert changed_rows({}, {now["id"]: now}) == [now]

    def test_every_state_has_a_look_orders_and_a_tab(self) -> None:
        assert LOOKS.keys() == ORDERS.keys() == STATES
        assert {state for states in TABS.values() for state in states} == STATES


class TestVerbs:
    def test_what_is_said_to_many_is_what_a_node_hears_for_many(self) -> None:
        assert {name for name, verb in VERBS.items() if verb.many} == set(TASK_BULK_VERBS)
        assert {name for verbs in ORDERS.values() for name in verbs} == VERBS.keys()
        assert {verb.becomes for verb in VERBS.values()} - STATES == {""}

    @pytest.mark.parametrize("name", VERBS)
    def test_each_has_its_words(self, name: str) -> None:
        verb = VERBS[name]
        words = {f"task.do.{name}"}
        if verb.many:
            words |= {f"task.done.{name}", f"tasks.done.{name}", f"tasks.done.{name}.one", f"tasks.nothing.{name}"}
        if verb.final:
            one, many = f"task.ask.{name}", f"tasks.ask.{name}"
            words |= {one, f"{one}.text", f"{one}.yes", many, f"{many}.one", f"{many}.yes", f"{many}.all"}
            words |= set() if verb.held else {f"{many}.some"}
        assert words - ENGLISH.keys() == set()
        assert not verb.back or VERBS[verb.back].many


class TestView:
    @pytest.mark.parametrize(
        "asked",
        [
            {},
            {"show": "nonsense", "sort": "-nonsense", "page": "0"},
            {"show": None, "sort": "--name", "page": "-3", "q": None},
            {"show": [], "sort": {}, "page": "9" * 40, "tag": ""},
            {"page": "٣"},
        ],
    )
    def test_what_makes_no_sense_is_as_if_it_were_not_there(self, asked: dict[str, Any]) -> None:
        view = view_of(asked)
        assert (view["states"], view["sort"], view["offset"]) == ((), "-created", 0)

    def test_a_page_begins_where_the_one_before_it_ended(self) -> None:
        assert view_of({"page": "3"})["offset"] == 2 * PAGE

    def test_a_word_is_no_longer_than_a_word_may_be(self) -> None:
        assert len(view_of({"q": "x" * 100_000})["q"]) == 200


class TestFilter:
    def test_all_that_match_are_those_that_the_verb_can_be_said_to(self) -> None:
        everything = filter_of(view_of({}), "pause")
        assert everything is not None
        assert set(everything.state) == {"pending", "queued", "downloading"}
        waiting = filter_of(view_of({"show": "waiting", "q": "iso", "node": "atlas", "tag": "a=b"}), "cancel")
        assert waiting is not None
        assert (set(waiting.state), waiting.q, waiting.node, waiting.tag) == (
            {"pending", "queued"},
            "iso",
            "atlas",
            ["a=b"],
        )

    def test_everything_still_names_states_for_a_filter_without_any_is_refused(self) -> None:
        everything = filter_of(view_of({}), "remove")
        assert everything is not None and set(everything.state) == STATES

    def test_nothing_is_said_to_what_cannot_hear_it(self) -> None:
        assert filter_of(view_of({"show": "completed"}), "pause") is None


# -- the page over a lively cluster


@pytest.fixture
async def cluster() -> AsyncIterator[Lively]:
    async with Lively(nodes=3, tasks=200, pace=0) as lively:
        yield lively


@pytest.fixture
async def visitor(cluster: Lively) -> AsyncIterator[Visitor]:
    async with visit(cluster) as one:
        await one.open("/tasks")
        yield one


async def look(visitor: Visitor, number: int = 1, **view: Any) -> dict[str, Any]:
    await visitor.emit(TaskList, "view", {"number": number, **view})

    def told() -> list[dict[str, Any]]:
        return [page for page in visitor.all_news("tasks_page") if page["number"] == number]

    return (await until(told, f"page {number} is told"))[-1]


async def order(visitor: Visitor, verb: str, ids: list[str] | None = None, *, number: int = 1) -> None:
    await visitor.emit(TaskList, "order", {"verb": verb, "ids": ids or [], "all": ids is None, "order": number})


def ids_of(cluster: Lively, status: str) -> list[str]:
    return [row.id for row in cluster.tasks.values() if row.status == status]


class TestList:
    async def test_a_page_of_the_view_is_told_with_how_many_there_are(self, cluster: Lively, visitor: Visitor) -> None:
        page = await look(visitor, show="completed", sort="name", page="2")
        completed = ids_of(cluster, "completed")
        assert page["total"] == len(completed) > PAGE
        assert (page["fresh"], page["first"]) == (True, PAGE)
        assert page["ids"] == [row["id"] for row in page["rows"]]
        assert {row["status"] for row in page["rows"]} == {"completed"}

    async def test_only_what_is_on_the_page_is_followed(self, visitor: Visitor) -> None:
        page = await look(visitor)
        await until(lambda: visitor.store.tasks.keys() == set(page["ids"]), "the rows are followed")
        await visitor.go("/activity")
        await until(lambda: not visitor.store.tasks, "they are followed no more")

    async def test_what_is_new_of_a_row_is_told_each_second(self, cluster: Lively, visitor: Visitor) -> None:
        page = await look(visitor, show="downloading")
        await until(lambda: visitor.store.tasks, "the rows are followed")
        cluster.step()
        await until(lambda: any("tasks_rows" in code for code in visitor.scripts), "rows are told")
        said = next(code for code in visitor.scripts if "tasks_rows" in code)
        assert page["ids"][0] in said and page["rows"][0]["name"] not in said, "its name is known"

    async def test_a_later_look_tells_only_what_is_new(
        self, cluster: Lively, visitor: Visitor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(tasks, "AFRESH", 0.1)
        await visitor.go("/")
        await visitor.go("/tasks")
        await look(visitor, show="failed")
        row = cluster.add("one-more.iso")
        row.status = "failed"
        cluster.step()
        await until(lambda: visitor.all_news("tasks_page")[-1]["fresh"] is False, "it is looked again")
        again = visitor.all_news("tasks_page")[-1]
        assert [one["name"] for one in again["rows"]] == ["one-more.iso"]
        assert again["ids"][0] == row.id

    async def test_a_view_that_the_node_refuses_says_why(self, cluster: Lively, visitor: Visitor) -> None:
        await cluster.stop()
        visitor.store.client.deadline = 0.2
        page = await look(visitor)
        assert page["error"]
        await cluster.start()

    async def test_a_look_that_was_overtaken_is_not_shown(
        self, cluster: Lively, visitor: Visitor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = await look(visitor, show="downloading")
        client, later = visitor.store.client, asyncio.Event()
        read = client.page

        async def slowly(**asked: Any) -> Any:
            monkeypatch.setattr(client, "page", read)
            page = await read(**asked)
            await later.wait()
            return page

        monkeypatch.setattr(client, "page", slowly)
        await visitor.emit(TaskList, "view", {"number": 1, "show": "downloading"})
        await until(lambda: client.page is not slowly, "one look is under way")
        await order(visitor, "pause", before["ids"][:1])
        await visitor.told("1 download paused")

        def is_shown() -> bool:
            return before["ids"][0] in visitor.all_news("tasks_page")[-1]["ids"]

        await until(lambda: not is_shown(), "the look after it tells the page")
        later.set()
        await visitor.ticks(1)
        assert not is_shown()


class TestOrders:
    async def test_a_pause_is_said_told_and_taken_back(self, cluster: Lively, visitor: Visitor) -> None:
        await look(visitor, show="downloading")
        ids = ids_of(cluster, "downloading")[:3]
        await order(visitor, "pause", ids, number=7)
        toast = await visitor.told("3 downloads paused")
        assert {cluster.tasks[one].status for one in ids} == {"paused"}
        assert (await visitor.news("tasks_said"))["order"] == 7
        await visitor.emit(Frame, "toast", toast["id"])
        await until(lambda: {cluster.tasks[one].status for one in ids} == {"pending"}, "they go on")

    async def test_what_was_ordered_is_not_shown_as_it_was_before_while_the_stream_is_behind(
        self, cluster: Lively, visitor: Visitor
    ) -> None:
        [one, *_] = (await look(visitor, show="all", q=cluster.tasks[ids_of(cluster, "downloading")[0]].name))["ids"]
        assert cluster.tasks[one].status == "downloading"
        await until(lambda: one in visitor.store.tasks, "it is followed")
        await order(visitor, "pause", [one])
        await visitor.told("1 download paused")
        await visitor.news("tasks_said")
        assert visitor.all_news("tasks_page")[-1]["rows"][0]["status"] == "paused"
        assert visitor.store.tasks[one].status == "downloading", "nobody has told the stream"
        await visitor.ticks(2)
        assert not any('"tasks_rows"' in code and '"status":"downloading"' in code for code in visitor.scripts)
        cluster.tasks[one].status = "completed"
        cluster.tasks[one].updated += timedelta(seconds=1)
        cluster.step()
        await until(lambda: any('"status":"completed"' in code for code in visitor.scripts), "what is newer is told")

    async def test_what_could_not_be_done_is_told_with_the_reason(self, cluster: Lively, visitor: Visitor) -> None:
        await look(visitor)
        done, running = ids_of(cluster, "completed")[0], ids_of(cluster, "downloading")[0]
        await order(visitor, "pause", [done, running])
        await visitor.told("1 download paused")
        refusal = await visitor.told("1 was left as it is.")
        assert refusal["tone"] == "error" and "is completed" in refusal["text"]

    async def test_an_order_that_fails_is_over_too(self, cluster: Lively, visitor: Visitor) -> None:
        await look(visitor)
        cluster.refusals.append(Unavailable("Nobody leads right now."))
        await order(visitor, "pause", ids_of(cluster, "downloading"), number=9)
        await visitor.told("Nobody leads right now.")
        assert (await visitor.news("tasks_said"))["order"] == 9

    async def test_all_that_match_are_paused_and_exactly_those_go_on(self, cluster: Lively, visitor: Visitor) -> None:
        await look(visitor)
        paused, running = ids_of(cluster, "paused"), len(ids_of(cluster, "downloading") + ids_of(cluster, "pending"))
        await order(visitor, "pause")
        toast = await visitor.told(f"{running} downloads paused")
        await visitor.emit(Frame, "toast", toast["id"])
        await until(lambda: sorted(ids_of(cluster, "paused")) == sorted(paused), "who was paused before stays so")

    @pytest.mark.parametrize(("verb", "status"), [("remove", "failed"), ("cancel", "pending")])
    async def test_nothing_final_is_said_to_all_without_a_question(
        self, cluster: Lively, visitor: Visitor, verb: str, status: str
    ) -> None:
        await look(visitor, show={"failed": "failed", "pending": "waiting"}[status])
        ids = ids_of(cluster, status)
        await order(visitor, verb)
        question = await visitor.shown(Ask)
        assert f"{len(ids)} downloads?" in question.props["heading"]
        assert cluster.said == []
        await visitor.emit(Ask, "yes", {})
        await until(lambda: not ids_of(cluster, status), "it is done")
        await until(lambda: not visitor.all(Ask), "the question is gone")

    async def test_some_are_canceled_after_a_question_for_their_bytes_are_thrown_away(
        self, cluster: Lively, visitor: Visitor
    ) -> None:
        await look(visitor)
        ids = ids_of(cluster, "downloading")[:2]
        await order(visitor, "cancel", ids)
        assert (await visitor.shown(Ask)).props["heading"] == "Cancel 2 downloads?"
        assert cluster.said == []
        await visitor.emit(Ask, "yes", {})
        await until(lambda: {cluster.tasks[one].status for one in ids} == {"canceled"}, "they are canceled")

    async def test_a_no_leaves_all_as_it_is(self, cluster: Lively, visitor: Visitor) -> None:
        await look(visitor)
        await order(visitor, "remove")
        await visitor.shown(Ask)
        await visitor.emit(Ask, "no")
        await until(lambda: not visitor.all(Ask), "the question is gone")
        assert cluster.said == []

    async def test_nothing_to_say_it_to(self, cluster: Lively, visitor: Visitor) -> None:
        await look(visitor, show="completed")
        await order(visitor, "resume")
        await visitor.told("None of these is paused")
        assert cluster.said == []

    @pytest.mark.parametrize("verb", ["", "explode", "__class__"])
    async def test_a_verb_that_is_none_is_not_said(self, cluster: Lively, visitor: Visitor, verb: str) -> None:
        await look(visitor)
        await order(visitor, verb, ids_of(cluster, "downloading"))
        await visitor.news("tasks_said")
        assert cluster.said == []

    async def test_one_is_moved_from_the_list_as_from_its_own_page(self, cluster: Lively, visitor: Visitor) -> None:
        await look(visitor)
        await order(visitor, "move", [ids_of(cluster, "downloading")[0]])
        assert "another node" in (await visitor.shown(Ask)).props["heading"]


class TestRemoval:
    @pytest.fixture(autouse=True)
    def quick(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(removals, "REGRET", 0.5)

    async def test_it_is_hidden_at_once_and_said_when_nobody_regrets_it(
        self, cluster: Lively, visitor: Visitor
    ) -> None:
        before = await look(visitor, show="failed")
        victim = before["ids"][0]
        await order(visitor, "remove", [victim])
        await visitor.told("1 download taken off the list")
        hidden = visitor.all_news("tasks_page")[-1]
        assert victim not in hidden["ids"] and hidden["total"] == before["total"] - 1
        assert cluster.said == []
        await until(lambda: victim not in cluster.tasks, "it is removed")
        assert cluster.said == [("POST", "/tasks/bulk", {"verb": "remove", "matching": {"ids": [victim]}})]

    async def test_the_page_is_full_all_the_same(self, visitor: Visitor) -> None:
        before = await look(visitor, show="completed")
        await order(visitor, "remove", before["ids"][:10])
        await visitor.told("10 downloads taken off the list")
        assert len(visitor.all_news("tasks_page")[-1]["ids"]) == PAGE

    async def test_undo_brings_it_back_and_the_node_never_hears_of_it(self, cluster: Lively, visitor: Visitor) -> None:
        before = await look(visitor, show="failed")
        await order(visitor, "remove", before["ids"][:2])
        toast = await visitor.told("2 downloads taken off the list")
        await visitor.emit(Frame, "toast", toast["id"])
        await until(lambda: visitor.all_news("tasks_page")[-1]["ids"] == before["ids"], "they are back")
        await until(lambda: not visitor.removing(), "nothing is about to be said")
        assert cluster.said == []

    async def test_it_stays_hidden_on_another_page_and_back_and_is_said_all_the_same(
        self, cluster: Lively, visitor: Visitor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(removals, "REGRET", 1.5)
        before = await look(visitor, show="failed")
        victim = before["ids"][0]
        await order(visitor, "remove", [victim])
        await visitor.told("1 download taken off the list")
        await visitor.go("/nodes")
        assert visitor.one(NodeCards) and visitor.one(PageHead)
        await visitor.go("/tasks")
        again = await look(visitor, number=2, show="failed")
        assert victim not in again["ids"]
        await until(lambda: victim not in cluster.tasks, "it is removed")

    async def test_what_the_node_does_not_do_is_told_and_it_is_back(self, cluster: Lively, visitor: Visitor) -> None:
        before = await look(visitor, show="failed")
        cluster.refusals.append(Unavailable("Nobody leads right now."))
        await order(visitor, "remove", before["ids"][:1])
        await visitor.told("1 download was not taken off the list. Nobody leads right now.")
        await until(lambda: visitor.all_news("tasks_page")[-1]["ids"] == before["ids"], "it is back")

    async def test_an_undo_that_comes_too_late_says_so(self, cluster: Lively, visitor: Visitor) -> None:
        before = await look(visitor, show="failed")
        await order(visitor, "remove", before["ids"][:1])
        toast = await visitor.told("1 download taken off the list")
        await until(lambda: before["ids"][0] not in cluster.tasks, "it is removed")
        await until(lambda: not visitor.removing(), "it is over")
        await visitor.emit(Frame, "toast", toast["id"])
        await visitor.told("too late")

    async def test_an_undo_that_comes_while_it_is_being_said_is_too_late(
        self, cluster: Lively, visitor: Visitor
    ) -> None:
        before = await look(visitor, show="failed")
        victim = before["ids"][0]
        cluster.answering.clear()
        await order(visitor, "remove", [victim])
        toast = await visitor.told("1 download taken off the list")
        await until(lambda: cluster.said, "the node hears of it")
        await visitor.emit(Frame, "toast", toast["id"])
        await visitor.told("too late")
        assert victim not in visitor.all_news("tasks_page")[-1]["ids"]
        cluster.answering.set()
        await until(lambda: victim not in cluster.tasks, "it is removed")

    async def test_when_the_browser_is_gone_it_is_said_at_once(
        self, cluster: Lively, visitor: Visitor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(removals, "REGRET", 3600.0)
        before = await look(visitor, show="failed")
        await order(visitor, "remove", before["ids"][:1])
        await order(visitor, "remove", before["ids"][1:3])
        await visitor.told("2 downloads taken off the list")
        assert cluster.said == []
        visitor.leave()
        await until(lambda: not cluster.tasks.keys() & set(before["ids"][:3]), "they are removed")
        assert set(before["ids"][3:]) <= cluster.tasks.keys()

    def test_undo_is_offered_for_no_longer_than_it_holds(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.undo()
        assert removals.OFFERED < removals.REGRET


class TestEnd:
    """Of the program, while something is about to be removed."""

    @pytest.fixture(autouse=True)
    def slow(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(removals, "REGRET", 3600.0)

    async def remove_one(self, visitor: Visitor) -> str:
        await visitor.open("/tasks")
        victim: str = (await look(visitor, show="failed"))["ids"][0]
        await order(visitor, "remove", [victim])
        await visitor.told("1 download taken off the list")
        return victim

    async def test_it_is_said_before_the_end(self, cluster: Lively) -> None:
        async with visit(cluster) as visitor:
            victim = await self.remove_one(visitor)
            assert cluster.said == []
        assert victim not in cluster.tasks

    async def test_a_node_that_does_not_answer_holds_up_no_end(
        self, cluster: Lively, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(site, "PARTING", 0.2)
        async with visit(cluster) as visitor:
            await self.remove_one(visitor)
            cluster.answering.clear()
        assert cluster.said
        cluster.answering.set()


def test_many_ids_are_said_in_parts() -> None:
    ids = [f"{number:016x}" for number in range(2 * orders.AT_ONCE + 1)]
    parts = [part.ids for part in orders.Many.of(ids).matching]
    assert [one for part in parts for one in part] == ids
    assert max(len(part) * 19 for part in parts) < 1024 * 1024, "as many bytes as a node takes"
