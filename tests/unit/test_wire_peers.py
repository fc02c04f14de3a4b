"""Delta coding: what comes out is what went in, and what is missing is noticed."""

import contextlib
from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ariacluster.domain.errors import InvalidInput
from ariacluster.domain.member import Progress, Report
from ariacluster.wire import deltas
from ariacluster.wire.deltas import Changes, Listener, Lost, Memo, News, Step, Teller
from ariacluster.wire.peers import OverviewFrame, ReportFrame, decode_overview, decode_report, encode

Told = dict[str, tuple[Report, float]]

numbers = st.integers(0, 3)
floats = st.sampled_from([0.0, 0.5, 99.9])
progress = st.builds(
    Progress, attempt=st.integers(1, 2), completed=numbers, total=numbers, speed=numbers, active=st.booleans()
)


def reports(node: str) -> st.SearchStrategy[Report]:
    return st.builds(
        Report,
        node=st.just(node),
        download_speed=numbers,
        upload_speed=numbers,
        disk_free=numbers,
        disk_total=numbers,
        cpu=floats,
        memory=floats,
        uptime=floats,
        engine=st.sampled_from(["", "1.37.0"]),
        trouble=st.sampled_from(["", "The disk is full.", "früh 🦀"]),
        pressed=st.booleans(),
        peak_speed=numbers,
        pace=floats,
        tasks=st.dictionaries(st.sampled_from("tuvw"), progress, max_size=4),
    )


heard: st.SearchStrategy[Told] = st.fixed_dictionaries(
    {}, optional={node: st.tuples(reports(node), st.floats(0, 10)) for node in "abc"}
)
histories = st.lists(heard, min_size=1, max_size=8)


def said(told: Told) -> dict[str, Report]:
    return {node: report for node, (report, _) in told.items()}


def over_the_wire(news: News) -> News:
    return decode_report(encode(ReportFrame(news=news))).news


def test_changes_are_the_fields_of_a_report() -> None:
    for mine, whole, apart in ((Changes, Report, {"node", "tasks"}), (Step, Progress, set[str]())):
        told = {field.name: field.type for field in msgspec.structs.fields(mine)}
        assert told == {
            field.name: field.type | msgspec.UnsetType
            for field in msgspec.structs.fields(whole)
            if field.name not in apart
        }


@given(histories, st.sets(st.integers(0, 7)))
@settings(max_examples=150)
def test_any_history_arrives(history: Sequence[Told], forgotten: set[int]) -> None:
    memo = Memo()
    tellers, listeners = [Teller(memo), Teller(memo), Teller()], [Listener(), Listener(), Listener()]
    for step, told in enumerate(history):
        for lane, (teller, listener) in enumerate(zip(tellers, listeners, strict=True)):
            if lane == 1 and step % 2:
                continue  # slower than the others: it gets the latest, and skips what was between
            if step in forgotten:
                teller.forget()
            ages = {h.report.node: h.age for h in listener.hear(over_the_wire(teller.tell(told, 20.0)))}
            assert listener.known == said(told)
            assert all(age == 20.0 - told[node][1] for node, age in ages.items())


@given(histories, st.data())
@settings(max_examples=300)
def test_a_frame_that_is_lost_doubled_or_late_is_noticed_and_never_taken(
    history: Sequence[Told], data: st.DataObject
) -> None:
    teller, listener = Teller(), Listener()
    sent: list[tuple[News, dict[str, Report]]] = []
    for step, told in enumerate(history):
        if step and data.draw(st.integers(0, 3)) == 0:
            teller.forget()
        sent.append((over_the_wire(teller.tell(told, 20.0)), said(told)))
    order = data.draw(st.lists(st.sampled_from(range(len(sent))), max_size=12))
    newest = 0
    for index in order:
        news, truth = sent[index]
        before = listener.known
        try:
            listener.hear(news)
        except Lost:
            assert listener.lost
            assert listener.known == before
        else:
            assert listener.known == truth
            assert news.number > newest, "what is older than what is known is not taken"
            newest = news.number
    teller.forget()
    listener.hear(teller.tell(history[0], 20.0))
    assert listener.known == said(history[0]), "a whole frame always helps"


def test_a_frame_bears_what_changed_and_nothing_else() -> None:
    tasks = {task: Progress(attempt=1, completed=5) for task in "tuv"}
    before = Report(node="n", cpu=1.0, engine="1.37.0", trouble="it is starting", tasks=tasks)
    after = Report(node="n", cpu=2.0, engine="1.37.0", tasks={"t": tasks["t"], "u": Progress(attempt=1, completed=6)})
    change = deltas.delta(before, after)
    assert change.changes == Changes(cpu=2.0, trouble="")
    assert change.tasks == {"u": Step(completed=6)}
    assert change.gone == ("v",)
    assert deltas.apply(before, change) == after
    teller = Teller()
    whole, small = teller.tell({"n": (before, 1.0)}, 1.0), teller.tell({"n": (after, 2.0)}, 2.0)
    assert (whole.number, whole.whole, small.number, small.whole) == (1, True, 2, False)
    assert small.nodes[0].delta == change


def test_only_nodes_that_were_heard_since_are_told() -> None:
    teller, listener = Teller(), Listener()
    a, b = Report(node="a", cpu=1.0), Report(node="b", cpu=2.0)
    listener.hear(teller.tell({"a": (a, 1.0), "b": (b, 1.0)}, 2.0))
    news = teller.tell({"a": (a, 1.0), "b": (b, 3.0)}, 3.5)
    assert [(node.node, node.age) for node in news.nodes] == [("b", 0.5)]
    [told] = listener.hear(news)
    assert (told.report, told.age) == (b, 0.5), "that it was heard is news, if nothing else is"
    assert teller.tell({"a": (a, 1.0), "b": (b, 3.0)}, 4.0).nodes == ()
    for number in (1, news.number):
        with pytest.raises(Lost):
            Listener().hear(msgspec.structs.replace(news, number=number))


def test_what_is_told_to_many_is_coded_once() -> None:
    memo = Memo()
    tellers = [Teller(memo) for _ in range(3)]
    one, two = Report(node="a", cpu=1.0), Report(node="a", cpu=2.0)
    for teller in tellers:
        teller.tell({"a": (one, 1.0)}, 1.0)
    coded = [teller.tell({"a": (two, 2.0)}, 2.0).nodes[0].delta for teller in tellers]
    assert coded[0] is coded[1] is coded[2]
    memo.keep(["b"])
    assert memo.delta(one, two) is not coded[0]


def test_a_newer_version_may_say_more() -> None:
    frame = {
        "news": {
            "number": 1,
            "whole": True,
            "mood": "fair",
            "nodes": [{"node": "n", "delta": {"changes": {"cpu": 1.0, "heat": 60}, "tasks": {"t": {"a": 1, "x": 1}}}}],
        },
        "more": True,
    }  # fmt: skip
    [told] = Listener().hear(decode_report(msgspec.msgpack.encode(frame)).news)
    assert told.report == Report(node="n", cpu=1.0, tasks={"t": Progress(attempt=1)})


@given(st.binary(max_size=64))
@settings(max_examples=200)
def test_bytes_that_are_no_frame_are_refused(data: bytes) -> None:
    for decode in (decode_report, decode_overview):
        with contextlib.suppress(InvalidInput):
            decode(data)


@pytest.mark.parametrize("change", [{"cpu": "hot"}, {"peak_speed": 1.5}, {"tasks": {"t": {"c": "all"}}}])
def test_values_of_another_kind_are_refused(change: dict[str, object]) -> None:
    tasks = change.pop("tasks", {})
    node = {"node": "n", "delta": {"changes": change, "tasks": tasks}}
    with pytest.raises(InvalidInput):
        decode_report(msgspec.msgpack.encode({"news": {"number": 1, "whole": True, "nodes": [node]}}))


def test_frames_survive_the_wire() -> None:
    news = Teller().tell({"n": (Report(node="n", cpu=1.0), 1.0)}, 2.0)
    up = ReportFrame(news=news, watching=True, got=3, again=True)
    down = OverviewFrame(term=4, news=news, heard=5, again=True)
    assert decode_report(encode(up)) == up
    assert decode_overview(encode(down)) == down
