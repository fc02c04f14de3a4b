"""What is said to tasks: by ids, by a filter after a question, and what is changed of one."""

import io
import json
import sys

import msgspec
import pytest

from ariacluster.wire.resources import BulkResult, LiveFile, LiveResource, LiveServer
from tests.support.fake_node import FakeNode, Run, completed, failed, node, running, task


def states(fake: FakeNode) -> list[str]:
    return [task.status for task in fake.tasks.values()]


async def test_a_verb_is_said_to_all_that_fit_and_can_take_it(fake: FakeNode, run: Run) -> None:
    fake.put(task(1, **failed("x")), task(2, **failed("x"), tags={"a": "b"}), task(3), task(4, **completed(1)))
    ran = await run("task", "retry", "--tag", "a=b", "--yes")
    assert (ran.code, ran.out, ran.err) == (0, "1 task tried again.\n", "")
    assert states(fake) == ["failed", "pending", "pending", "completed"]
    ran = await run("task", "pause", "--all", "-y", "-o", "json")
    assert msgspec.json.decode(ran.out, type=BulkResult).done_count == 2
    assert states(fake) == ["failed", "paused", "paused", "completed"]
    assert (await run("task", "resume", "--search", "FILE-3", "--yes")).code == 0
    assert states(fake) == ["failed", "paused", "pending", "completed"]
    assert (await run("task", "rm", "--state", "failed,completed", "--yes")).out == "2 tasks taken off the list.\n"
    assert len(fake.tasks) == 2


async def test_those_that_refuse_are_named_and_the_rest_counted(fake: FakeNode, run: Run) -> None:
    fake.put(*(task(number, **completed(1)) for number in range(1, 14)), task(14))
    ran = await run("task", "pause", "--state", "completed,pending", "--yes")
    assert ran.code == 1 and ran.out == "1 task paused.\n"
    assert ran.err.count("The task is completed.") == 10 and "… and 3 more were refused." in ran.err


async def test_a_person_is_asked_with_the_number_and_the_filter(
    fake: FakeNode, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.put(task(1, **failed("x")), task(2, **failed("x")))
    asked: list[str] = []

    def confirm(question: str) -> bool:
        asked.append(question)
        return False

    monkeypatch.setattr("ariacluster.cli.asking.confirm", confirm)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    ran = await run("task", "rm", "--state", "failed", "--search", "file")
    assert asked == ["Take 2 tasks off the list (failed, with 'file' in name or link)?"]
    assert ran.code == 1 and "Nothing was changed." in ran.err and len(fake.tasks) == 2
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False)
    ran = await run("task", "rm", "--all")
    assert ran.code == 1 and "--yes" in ran.err and len(fake.tasks) == 2


async def test_where_nothing_fits_nothing_is_asked(fake: FakeNode, run: Run) -> None:
    ran = await run("task", "cancel", "--node", "nas")
    assert (ran.code, ran.out) == (0, "") and "There is nothing to cancel that is on nas" in ran.err
    assert (await run("task", "pause", "--all", "-o", "json")).code == 0


@pytest.mark.parametrize("arguments", [[], ["0001", "--all"], ["0001", "--state", "failed"], ["--state", "odd"]])
async def test_ids_or_a_filter_and_not_both(fake: FakeNode, run: Run, arguments: list[str]) -> None:
    ran = await run("task", "rm", *arguments)
    assert (ran.code, ran.out, fake.requests) == (2, "", [])


async def test_ids_from_stdin(fake: FakeNode, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.put(task(1), task(2), task(3))
    monkeypatch.setattr(sys, "stdin", io.StringIO("00000001\n00000003\n00000001\n"))
    assert (await run("task", "rm", "-")).code == 0
    assert [task.name for task in fake.tasks.values()] == ["file-2.bin"]
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    ran = await run("task", "rm", "-")
    assert ran.code == 1 and "No id came in." in ran.err


# -- edit


async def test_what_is_named_is_changed_and_the_rest_stays(fake: FakeNode, run: Run) -> None:
    fake.put(task(1, tags={"a": "b"}, options={"split": "4"}, node="pi", out="x"))
    ran = await run(
        "task", "edit", "00000001", "--priority", "High", "--tag", "c=d", "--tag", "a=", "--max-attempts", "9"
    )
    assert (ran.code, ran.err) == (0, "")
    assert json.loads(fake.bodies[0]) == {"priority": "high", "tags": {"c": "d", "a": None}, "max_attempts": 9}
    [now] = fake.tasks.values()
    assert (now.priority, now.tags, now.options, now.node) == ("high", {"c": "d"}, {"split": "4"}, "pi")
    more = ["--node", "any", "--out", "", "--checksum", "", "--not-before", "now", "--option", "split=", "--to", "isos"]
    assert (await run("task", "edit", "00000001", *more, "--header", "Cookie: a=b")).code == 0
    assert json.loads(fake.bodies[1]) == {
        "node": None, "out": None, "checksum": None, "not_before": None, "options": {"split": None}, "dir": "isos",
        "headers": ["Cookie: a=b"],
    }  # fmt: skip
    assert (await run("task", "edit", "00000001")).code == 2
    assert (await run("task", "edit", "00000001", "--not-before", "soon")).code == 2
    fake.put(task(2, **completed(1)))
    assert (await run("task", "edit", "00000002", "--to", "x")).code == 1


# -- lists


async def test_lists_are_filtered_and_sorted(fake: FakeNode, run: Run) -> None:
    fake.put(
        task(1, **running(1, 9, node="nas"), tags={"a": "b"}),
        task(2, **running(5, 6, node="pi"), name="Zebra"),
        task(3, name="apple"),
    )

    async def names(*arguments: str) -> list[str]:
        return [task["name"] for task in json.loads((await run("task", "ls", "-o", "json", *arguments)).out)]

    assert await names("--node", "nas") == ["file-1.bin"]
    assert await names("--tag", "a") == await names("--tag", "a=b") == ["file-1.bin"]
    assert await names("--search", "zeb") == ["Zebra"]
    assert await names("--sort", "-size") == ["file-1.bin", "Zebra", "apple"]
    ran = await run("task", "ls", "--node", "attic")
    assert "No task is on attic." in ran.err
    ran = await run("task", "ls", "--sort", "colour")
    assert ran.code == 2 and "updated" in ran.err


async def test_a_running_task_shows_its_pieces(fake: FakeNode, run: Run) -> None:
    one = task(1, **running(60, 100))
    fake.put(one)
    fake.pieces[one.id] = LiveResource(
        id=one.id, running=True, piece_length=1_048_576, piece_count=10, pieces="f0c0", seeders=3,
        files=[LiveFile(path="d/a.iso", length=80, completed=40), LiveFile(path="d/no", length=9, completed=0, selected=False)],
        servers=[LiveServer(uri="http://slow", speed=10), LiveServer(uri="http://fast", speed=5_000_000)],
    )  # fmt: skip
    story = (await run("task", "show", "00000001")).out
    assert "Pieces  6 of 10, 1.05 MB each" in story and "  ████····██" in story
    assert "1 of 2 are wanted" in story and "50%  d/a.iso" in story and "d/no" not in story
    assert story.index("http://fast") < story.index("http://slow") and "3 seeders" in story
    fake.put(task(1, **completed(1)))
    assert "Pieces" not in (await run("task", "show", "00000001")).out


# -- the cluster


async def test_another_node_is_made_leader(fake: FakeNode, run: Run) -> None:
    fake.nodes += [node("beta"), node("gamma")]
    assert "★ gamma" in (await run("cluster", "transfer", "--to", "gamma")).out
    ran = await run("cluster", "transfer", "--to", "nobody")
    assert ran.code == 1


async def test_a_cluster_joins_that_of_another_node(fake: FakeNode, run: Run) -> None:
    from ariacluster.wire.resources import OtherClusterResource

    async with FakeNode() as other:
        other.cluster_id = "c2"
        fake.others = [OtherClusterResource(id="c2", members=1, nodes=["x"])]
        ran = await run("cluster", "join", other.url)
        assert ran.code == 1 and "--yes" in ran.err and fake.cluster_id == "c1"
        assert (await run("cluster", "join", other.url, "--yes")).code == 0
        assert fake.cluster_id == "c2"
        assert "already" in (await run("cluster", "join", other.url)).err
    assert (await run("cluster", "join", "127.0.0.1:1")).code == 3
    assert (await run("cluster", "join", "ftp://x")).code == 2
