"""The verbs against a node: what they print for people and for scripts, and how they end."""

import asyncio
import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import typer.main

from ariacluster.cli.commands.status import Glance
from ariacluster.cli.main import build
from ariacluster.domain.errors import NoLeader, Overloaded
from ariacluster.domain.policy import Strategy
from ariacluster.wire.problems import Problem
from ariacluster.wire.resources import (
    AttemptResource,
    ClusterResource,
    FileResource,
    NamedId,
    NodeResource,
    OtherClusterResource,
    SettingsResource,
    TaskResource,
)
from tests.support.fake_node import FakeNode, Ran, Run, completed, failed, node, running, task

HOSTILE = "[red]x[/red] \x1b[2J\x07\x9b1m\u202egnp.exe :boom: " + "y" * 300 + " 🇬🇧日本.iso"


# -- status and nodes


async def test_status_shows_the_cluster_its_nodes_and_its_tasks(fake: FakeNode, run: Run) -> None:
    fake.nodes = [node("alpha", role="leader", used_slots=2, download_speed=12_300_000), node("beta", status="offline")]
    fake.nodes.append(node("gamma", trouble="The disk is full."))
    fake.put(task(1, **running(1, 2)), task(2, **completed(5)), task(3, **failed("Gone.")))
    ran = await run("status")
    assert (ran.code, ran.err) == (0, "")
    for words in ("home  3 nodes", "★ alpha leads", "term 4, 3 voters, quorum ✓", "open:", "▰▰▱▱▱ 2/5", "12.3 MB/s"):
        assert words in ran.out
    for words in ("○ offline", "gamma  The disk is full.", "3 tasks   ↓ 1 downloading   ✓ 1 completed   ✗ 1 failed"):
        assert words in ran.out


async def test_status_says_that_nobody_leads(fake: FakeNode, run: Run) -> None:
    fake.leader = None
    ran = await run("status")
    assert "no leader right now" in ran.out and "no quorum" in ran.out


async def test_status_for_scripts_is_the_status_of_the_api_with_the_nodes(fake: FakeNode, run: Run) -> None:
    ran = await run("status", "-o", "json")
    glance = msgspec.json.decode(ran.out, type=Glance)
    assert glance.nodes == fake.nodes and glance.cluster.leader == fake.leader
    assert len((await run("status", "-o", "ndjson")).out.splitlines()) == 1


async def test_nodes(fake: FakeNode, run: Run) -> None:
    fake.nodes.append(node("pi", address="fd00::12", tags={"disk": "small"}, trouble="The folder is gone."))
    listed = await run("node", "ls")
    assert "[fd00::12]:8000" in listed.out and "pi  The folder is gone." in listed.out
    assert (await run("workers")).out == listed.out
    assert msgspec.json.decode((await run("workers", "-o", "json")).out, type=list[NodeResource]) == fake.nodes
    story = await run("node", "status", "pi")
    for words in ("The folder is gone.", "disk=small", "1 d 2 h", "812 GB free of 2.00 TB"):
        assert words in story.out
    assert msgspec.json.decode((await run("node", "status", "id-pi", "-o", "json")).out, type=NodeResource).name == "pi"
    assert (await run("node", "status", "nobody")).code == 1


async def test_a_node_is_taken_off(fake: FakeNode, run: Run) -> None:
    fake.nodes += [node("pi"), node("nas", status="offline"), node("old", status="offline")]
    refused = await run("node", "rm", "pi")
    assert refused.code == 1 and "pi is online." in refused.err
    assert (await run("node", "rm", "pi", "--force")).out == "Node pi is off the cluster\n"
    assert (await run("node", "rm", "nas")).code == 0
    done = await run("node", "rm", "id-old", "-o", "json")
    assert msgspec.json.decode(done.out) == {"id": "id-old", "message": "Node old is off the cluster"}
    assert [left.name for left in fake.nodes] == ["alpha"]
    assert (await run("node", "rm", "nobody")).code == 1


async def test_a_node_is_drained_and_takes_tasks_again(fake: FakeNode, run: Run) -> None:
    fake.leaving = [2]
    ran = await run("node", "drain", "alpha", "--finish-within", "10m")
    assert (ran.code, ran.err) == (0, "")
    assert "◐ draining" in ran.out and "alpha  2 tasks left; what it has begun may be finished by" in ran.out
    assert fake.bodies == [b'{"finish_within":600.0}']
    for arguments in (["status"], ["node", "ls"], ["node", "status", "alpha"]):
        assert "2 tasks left" in (await run(*arguments)).out
    fake.leaving = [0]
    assert "empty: it can be stopped now" in (await run("node", "ls")).out
    fake.nodes[0] = msgspec.structs.replace(fake.nodes[0], status="offline")
    assert "empty, and offline" in (await run("node", "ls")).out
    fake.nodes[0] = msgspec.structs.replace(fake.nodes[0], tasks_left=1)
    assert "1 task left; it is offline" in (await run("node", "ls")).out
    assert "takes tasks again" in (await run("node", "undrain", "alpha")).out
    assert "tasks left" not in (await run("status")).out
    drained = await run("node", "drain", "alpha", "-o", "json")
    assert msgspec.json.decode(drained.out, type=NodeResource).status == "draining"
    undrained = await run("node", "undrain", "alpha", "-o", "json")
    assert msgspec.json.decode(undrained.out, type=NodeResource).status == "online"
    assert (await run("node", "drain", "nobody")).code == 1
    assert (await run("node", "drain", "alpha", "--finish-within", "soon")).code == 2


@pytest.fixture
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ariacluster.cli.commands.node.INTERVAL", 0.01)


@pytest.mark.usefixtures("_quick")
async def test_draining_is_waited_for_and_tells_what_is_left(fake: FakeNode, run: Run) -> None:
    fake.nodes.append(node("beta"))
    fake.leaving = [3, 3, 1, 1, 0]
    ran = await run("node", "drain", "alpha", "--wait")
    assert (ran.code, ran.err) == (0, "")
    told = [line.split("  ")[-1].partition(";")[0] for line in ran.out.splitlines()]
    assert told == ["3 tasks left", "1 task left", "empty: it can be stopped now"]
    fake.leaving = [2, 1, 0]
    ran = await run("node", "drain", "alpha", "--wait", "-o", "ndjson")
    assert [msgspec.json.decode(line, type=NodeResource).tasks_left for line in ran.out.splitlines()] == [2, 1, 0]
    fake.leaving = [1, 0]
    ran = await run("node", "drain", "alpha", "--wait", "-o", "json")
    last = msgspec.json.decode(ran.out, type=NodeResource)
    assert (ran.code, last.name, last.tasks_left) == (0, "alpha", 0)


@pytest.mark.usefixtures("_quick")
async def test_draining_that_is_called_off_is_not_waited_for(fake: FakeNode, run: Run) -> None:
    fake.leaving = [1] * 1000
    waiting = asyncio.ensure_future(run("node", "drain", "alpha", "--wait"))
    await asyncio.wait_for(fake.looked.wait(), 10)
    fake.nodes[0] = msgspec.structs.replace(fake.nodes[0], status="online", drain_until=None)
    ran = await waiting
    assert ran.code == 1 and "called it off" in ran.err


@pytest.mark.usefixtures("_quick")
async def test_a_node_that_is_taken_off_meanwhile_is_not_waited_for(fake: FakeNode, run: Run) -> None:
    fake.nodes.append(node("beta"))
    fake.leaving = [1] * 1000
    waiting = asyncio.ensure_future(run("node", "drain", "alpha", "--wait"))
    await asyncio.wait_for(fake.looked.wait(), 10)
    del fake.nodes[0]
    ran = await waiting
    assert ran.code == 0 and "its tasks run elsewhere" in ran.err


async def test_slots_and_limits_of_a_node_are_set(fake: FakeNode, run: Run) -> None:
    assert "LIMITS" not in (await run("node", "ls")).out, "most nodes have none"
    ran = await run("node", "set", "alpha", "--slots", "8", "--download-limit", "5M", "--upload-limit", "0")
    assert (ran.code, ran.err) == (0, "")
    assert fake.bodies == [b'{"slots":8,"download_limit":5000000,"upload_limit":0}']
    assert "▰" not in ran.out and "0/8" in ran.out and "limits       ↓ 5.00 MB/s" in ran.out
    listed = (await run("node", "ls")).out
    assert "LIMITS" in listed and "↓ 5.00 MB/s" in listed
    ran = await run("node", "set", "alpha", "--slots", "own", "--upload-limit", "500k", "-o", "json")
    told = msgspec.json.decode(ran.out, type=NodeResource)
    assert (told.total_slots, told.download_limit, told.upload_limit) == (5, 5_000_000, 500_000)
    assert fake.bodies[1] == b'{"slots":null,"upload_limit":500000}'
    for wrong in ([], ["--slots", "many"], ["--slots", "-1"], ["--download-limit", "fast"]):
        ran = await run("node", "set", "alpha", *wrong)
        assert (ran.code, ran.out) == (2, "")
    assert len(fake.bodies) == 2


async def test_a_trouble_that_is_among_the_problems_is_told_once(fake: FakeNode, run: Run) -> None:
    fake.nodes.append(node("gamma", trouble="The disk is full."))
    fake.problems = ["gamma takes no tasks: The disk is full."]
    assert (await run("status")).out.count("The disk is full.") == 1


# -- settings


async def test_settings_are_shown(fake: FakeNode, run: Run) -> None:
    fake.settings = msgspec.structs.replace(fake.settings, origin_limits={"a.example": 4, "b.example": 0})
    ran = await run("settings", "get")
    assert (ran.code, ran.err) == (0, "")
    shown = [line.split()[:2] for line in ran.out.splitlines()[1:]]
    assert shown == [
        ["strategy", "least_loaded"],
        ["origin_connections", "no"],
        ["origin_limits.a.example", "4"],
        ["origin_limits.b.example", "no"],
        ["min_free", "1.00"],
        ["max_attempts", "5"],
        ["retry_pause", "2"],
        ["retry_pause_longest", "5"],
        ["node_timeout", "each"],
        ["forget_after", "each"],
        ["slots", "each"],
    ]
    assert (await run("settings", "get", "strategy")).out == "least_loaded\n"
    assert (await run("settings", "get", "min_free")).out == "1000000000\n"
    assert (await run("settings", "get", "origin_limits")).out == "a.example=4\nb.example=0\n"
    assert [(await run("settings", "get", key)).out for key in ("retry_pause_longest", "slots")] == ["300\n", "\n"]
    told = await run("settings", "get", "-o", "json")
    assert msgspec.json.decode(told.out, type=SettingsResource) == fake.settings
    assert json.loads((await run("settings", "get", "min_free", "-o", "json")).out) == {"min_free": 1_000_000_000}
    assert (await run("settings", "get", "colour")).code == 2
    helped = (await run("settings", "set", "--help")).out
    assert all(name in helped for name in (*Strategy, *fake.settings.__struct_fields__))


async def test_settings_are_changed(fake: FakeNode, run: Run) -> None:
    ran = await run("settings", "set", "strategy=tags", "min_free=2GB", "origin_limits.a.example:81=4")
    assert (ran.code, ran.err) == (0, "")
    assert fake.bodies == [b'{"strategy":"tags","origin_limits":{"a.example:81":4},"min_free":2000000000}']
    assert "tags" in ran.out and "2.00 GB" in ran.out
    ran = await run("settings", "set", "origin_limits.a.example:81=", "origin_connections=9", "-o", "json")
    assert msgspec.json.decode(ran.out, type=SettingsResource) == fake.settings
    assert (fake.settings.origin_limits, fake.settings.origin_connections) == ({}, 9)
    ran = await run("settings", "set", "node_timeout=1m30s", "slots=8", "retry_pause=0.5", "max_attempts=9")
    assert fake.bodies[-1] == b'{"max_attempts":9,"retry_pause":0.5,"node_timeout":90.0,"slots":8}'
    shown = {line.split()[0]: line for line in ran.out.splitlines()}
    assert "1 min" in shown["node_timeout"] and "0.5 s" in shown["retry_pause"]
    ran = await run("settings", "set", "node_timeout=", "slots=")
    assert fake.bodies[-1] == b'{"node_timeout":null,"slots":null}'
    assert fake.settings.slots is None and "each node's own" in ran.out


@pytest.mark.parametrize(
    "pair",
    [
        "strategy",
        "colour=red",
        "min_free=much",
        "origin_connections=-1",
        "origin_limits=3",
        "origin_limits.a=x",
        "node_timeout=soon",
        "slots=many",
    ],
)
async def test_a_setting_that_cannot_be_read_is_wrong_usage(fake: FakeNode, run: Run, pair: str) -> None:
    ran = await run("settings", "set", pair)
    assert (ran.code, ran.out, fake.bodies) == (2, "", [])


# -- the cluster as a whole

ATTIC = OtherClusterResource(id="3f5512ba", members=3, nodes=["attic", "shed"])
BARN = OtherClusterResource(id="3f99", members=1, nodes=["barn"])


async def test_the_cluster_tells_its_story(fake: FakeNode, run: Run) -> None:
    fake.nodes += [node("beta"), node("gamma")]
    fake.others = [ATTIC, BARN]
    ran = await run("cluster", "status")
    assert (ran.code, ran.err) == (0, "")
    shown = [line.split(maxsplit=1) for line in ran.out.splitlines()]
    for fact in (["id", "c1"], ["members", "3"], ["leader", "★ alpha"], ["term", "4"], ["majority", "there"]):
        assert fact in shown
    assert "3f5512ba: 3 members, heard attic, shed" in ran.out and "3f99: 1 member, heard barn" in ran.out
    assert "missing" not in ran.out
    fake.leader, fake.missing, fake.others = None, [NamedId("id-beta", "beta"), NamedId("x", "x")], []
    shown = [line.split(maxsplit=1) for line in (await run("cluster", "status")).out.splitlines()]
    for fact in (["leader", "none right now"], ["majority", "lost"], ["missing", "beta, x"]):
        assert fact in shown
    assert not any("also here" in " ".join(line) for line in shown)


async def test_the_cluster_for_scripts_is_that_of_the_api(fake: FakeNode, run: Run) -> None:
    fake.others, fake.missing = [ATTIC], [NamedId("id-beta", "beta")]
    told = msgspec.json.decode((await run("cluster", "status", "-o", "json")).out, type=ClusterResource)
    assert (told.id, told.others, told.missing, told.leader) == ("c1", [ATTIC], fake.missing, fake.leader)


async def test_a_cluster_is_merged_into_the_one_that_is_named(fake: FakeNode, run: Run) -> None:
    fake.others = [ATTIC, BARN]
    ran = await run("cluster", "merge", "3f5", "--yes")
    assert (ran.code, ran.err) == (0, "")
    assert "3f5512ba" in ran.out
    assert fake.cluster_id == "3f5512ba"
    ran = await run("cluster", "merge", "-y", "-o", "json")
    assert msgspec.json.decode(ran.out, type=ClusterResource).id == fake.cluster_id == "3f99", "the only other one"


@pytest.mark.parametrize(("others", "into", "words"), [
    ([], "", "No such cluster is heard here"),
    ([ATTIC], "c1", "No such cluster is heard here"),
    ([ATTIC, BARN], "3f", "3f5512ba or 3f99"),
    ([ATTIC, BARN], "", "3f5512ba or 3f99"),
])  # fmt: skip
async def test_without_one_other_cluster_nothing_is_merged(
    fake: FakeNode, run: Run, others: list[OtherClusterResource], into: str, words: str
) -> None:
    fake.others = others
    ran = await run("cluster", "merge", *([into] if into else []), "--yes")
    assert (ran.code, ran.out) == (1, "") and words in ran.err
    assert fake.cluster_id == "c1" and fake.requests == ["GET /cluster"]


async def test_a_cluster_is_begun_anew(fake: FakeNode, run: Run) -> None:
    fake.leader, fake.missing = None, [NamedId("id-beta", "beta")]
    ran = await run("cluster", "recover", "--yes")
    assert (ran.code, ran.err) == (0, "")
    assert "begun anew" in ran.out and "beta" not in ran.out
    assert fake.requests == ["GET /cluster/recover", "POST /cluster/recover"]
    told = await run("cluster", "recover", "--yes", "-o", "json")
    assert msgspec.json.decode(told.out, type=ClusterResource).id == "begun anew"


@pytest.mark.parametrize("kind", ["table", "json"])
@pytest.mark.parametrize("verb", ["merge", "recover"])
async def test_where_nobody_can_be_asked_yes_has_to_be_said(fake: FakeNode, run: Run, verb: str, kind: str) -> None:
    fake.others = [ATTIC]
    ran = await run("cluster", verb, "-o", kind)
    assert (ran.code, ran.out) == (1, "")
    assert ("goes into 3f5512ba (attic, shed)" if verb == "merge" else "A new cluster begins.") in ran.err
    if kind == "json":
        assert msgspec.json.decode(ran.err.splitlines()[-1], type=Problem).field == "--yes"
    else:
        assert "field: --yes" in ran.err
    assert not [request for request in fake.requests if request.startswith("POST")]


@pytest.mark.parametrize("answer", [True, False])
@pytest.mark.parametrize("verb", ["merge", "recover"])
async def test_a_person_is_asked_first(
    fake: FakeNode, run: Run, monkeypatch: pytest.MonkeyPatch, verb: str, answer: bool
) -> None:
    asked: list[str] = []

    def confirm(question: str) -> bool:
        assert not [request for request in fake.requests if request.startswith("POST")]
        asked.append(question)
        return answer

    monkeypatch.setattr("ariacluster.cli.asking.confirm", confirm)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    fake.others = [ATTIC]
    ran = await run("cluster", verb)
    assert asked == ["Merge them?" if verb == "merge" else "Begin anew?"]
    assert ran.code == (0 if answer else 1)
    done = "3f5512ba" if verb == "merge" else "begun anew"
    assert fake.cluster_id == (done if answer else "c1")
    assert bool(ran.out) is answer


# -- lists and stories


async def test_tasks_are_listed_in_their_order_with_what_matters_of_each(fake: FakeNode, run: Run) -> None:
    fake.put(
        task(1, **completed(787_000_000)),
        task(2, **running(500_000_000, 1_000_000_000, speed=31_200_000)),
        task(3, **failed("The server says 404.")),
        task(4),
    )
    ran = await run("task", "ls")
    assert ran.out == (await run("tasks")).out
    title, *rows = ran.out.splitlines()
    assert title.split() == ["ID", "STATE", "NAME", "DONE", "SIZE", "SPEED", "NODE", "CHANGED", "WHY"]
    assert [row.split()[0] for row in rows] == list(fake.tasks)
    assert "✓ completed" in rows[0] and "787 MB" in rows[0]
    assert "━━━━━─────   50%  1.00 GB  31.2 MB/s  alpha" in rows[1]
    assert "✗ failed" in rows[2] and "The server says 404." in rows[2]
    assert "waiting for a node with a free slot" in rows[3]


async def test_an_empty_list_says_how_to_fill_it(run: Run) -> None:
    ran = await run("task", "ls")
    assert (ran.code, ran.out) == (0, "") and "ariacluster add" in ran.err
    assert (await run("task", "ls", "-o", "json")) == Ran(0, "[]\n", "")


async def test_a_list_is_cut_at_its_limit_and_all_means_all(fake: FakeNode, run: Run) -> None:
    fake.put(*(task(number) for number in range(1, 1206)))
    ran = await run("task", "ls")
    assert len(ran.out.splitlines()) == 101 and "100 of 1,205 tasks" in ran.err
    assert len((await run("task", "ls", "-n", "3")).out.splitlines()) == 4
    assert len(json.loads((await run("task", "ls", "--all", "-o", "json")).out)) == 1205
    assert len(json.loads((await run("task", "ls", "--limit", "1100", "-o", "json")).out)) == 1100
    lines = (await run("task", "ls", "--all", "-o", "ndjson")).out.splitlines()
    assert [msgspec.json.decode(line, type=TaskResource) for line in lines] == list(fake.tasks.values())


async def test_states_are_chosen_by_name(fake: FakeNode, run: Run) -> None:
    fake.put(task(1), task(2, **completed(1)), task(3, **failed("x")), task(4, status="paused"))

    async def listed(*arguments: str) -> list[str]:
        found = json.loads((await run("task", "ls", "-o", "json", *arguments)).out)
        return [task["status"] for task in found]

    assert await listed("--state", "failed,completed") == ["completed", "failed"]
    assert await listed("--state", "unfinished") == ["pending", "paused"]
    assert await listed("--state", "paused", "--state", "failed") == ["failed", "paused"]
    wrong = await run("task", "ls", "--state", "broken")
    assert wrong.code == 2 and "unfinished" in wrong.err


async def test_a_task_tells_its_story(fake: FakeNode, run: Run) -> None:
    now = datetime.now(UTC)
    attempt = AttemptResource(
        attempt=1, worker_id="b", worker_name="beta", at=now - timedelta(minutes=3), kind="node", error_code=9,
        message="The disk was full.",
    )  # fmt: skip
    found = task(1, **running(1, 2), failures=[attempt], tags={"disk": "big"}, node="alpha", priority="high")
    fake.put(msgspec.structs.replace(found, urls=["http://a/x", "http://b/x"], options={"split": "4"}))
    ran = await run("task", "show", "00000001")
    story = ["why here     the fewest downloads", "attempt 1 on beta  The disk was full. (aria2 error 9)  3 min ago"]
    for words in (*story, "mirrors      http://b/x", "disk=big", "split=4", "only on      alpha", "priority     high"):
        assert words in ran.out
    fake.put(task(2, **completed(5), files=[FileResource(path="isos/x.iso", length=5)]))
    assert "isos/x.iso" in (await run("task", "show", "00000002")).out
    shown = await run("-o", "json", "task", "show", "00000002")
    assert msgspec.json.decode(shown.out, type=TaskResource) == list(fake.tasks.values())[1]
    assert (await run("task", "show", "ffff")).code == 1


async def test_verbs_say_what_became_of_each_task_and_go_on_after_one_that_fails(fake: FakeNode, run: Run) -> None:
    fake.put(task(1), task(2), task(3, **completed(1)))
    ran = await run("task", "pause", "00000001", "00000003", "00000002")
    assert ran.code == 1
    assert [line.split()[1] for line in ran.out.splitlines()] == ["paused", "paused"]
    assert ran.err == "error: 00000003: The task is completed.\n"
    assert (await run("task", "resume", "00000001")).code == 0
    assert (await run("task", "cancel", "00000001")).code == 0
    retried = await run("task", "retry", "00000001", "-o", "json")
    assert [task.status for task in msgspec.json.decode(retried.out, type=list[TaskResource])] == ["pending"]
    removed = await run("task", "rm", "00000001")
    assert removed.code == 0 and "off the list" in removed.out
    assert len(fake.tasks) == 2


async def test_tasks_are_moved(fake: FakeNode, run: Run) -> None:
    fake.put(task(1, **running(1, 2)), task(2, status="paused"))
    ran = await run("task", "move", "00000001", "00000002", "--to", "nas")
    assert ran.code == 1
    assert "◎ queued" in ran.out and "on nas" in ran.out
    assert ran.err == "error: 00000002: The task is paused; resume it first.\n"
    ran = await run("task", "move", "00000001", "--to", "pi", "-o", "json")
    assert [task.worker_name for task in msgspec.json.decode(ran.out, type=list[TaskResource])] == ["pi"]
    assert (await run("task", "move", "00000001")).code == 2


async def test_a_task_that_needs_a_new_link_says_so_and_gets_one(fake: FakeNode, run: Run) -> None:
    fake.put(
        task(1, **failed("The server refuses this link."), needs_link=True, bytes_on="beta"), task(2, **failed("x"))
    )
    listed = (await run("task", "ls")).out
    assert listed.count("needs a new link") == 1 and "needs a new link: The server refuses this link." in listed
    story = (await run("task", "show", "00000001")).out
    wanted = next(iter(fake.tasks))
    assert f"what to do   needs a new link: ariacluster task relink {wanted} URL" in story
    assert "bytes on     beta" in story
    ran = await run("task", "relink", "00000001", "http://new/1", "http://new/2", "--header", "Cookie: a=b")
    assert (ran.code, ran.err) == (0, "")
    assert fake.tasks[wanted].urls == ["http://new/1", "http://new/2"]
    assert b'"headers":["Cookie: a=b"]' in fake.bodies[0]
    assert (await run("task", "relink", "00000001", "http://new/3")).code == 0
    assert b'"headers":null' in fake.bodies[1], "those that it has"
    assert (await run("task", "relink", "00000001")).code == 2


# -- add


async def test_a_download_may_be_put_off(fake: FakeNode, run: Run) -> None:
    assert (await run("add", "http://a/x", "--not-before", "2h")).code == 0
    [made] = fake.tasks.values()
    assert made.not_before is not None
    assert abs((made.not_before - datetime.now(UTC)).total_seconds() - 7200) < 60
    story = (await run("task", "show", made.id)).out
    assert "not before" in story and "(in 1 h 59 min)" in story
    assert (await run("add", "http://a/x", "--not-before", "soon")).code == 2


async def test_each_url_becomes_a_task_and_one_that_is_wrong_stops_no_other(fake: FakeNode, run: Run) -> None:
    ran = await run("add", "http://o/one.iso", "gopher://o/x", "http://o/two.iso", "--to", "isos", "--tag", "disk=big")
    assert ran.code == 1
    assert [(task.name, task.dir, task.tags) for task in fake.tasks.values()] == [
        ("one.iso", "isos", {"disk": "big"}),
        ("two.iso", "isos", {"disk": "big"}),
    ]
    first, second = ran.out.splitlines()
    assert "one.iso" in first and next(iter(fake.tasks)) in first and "waiting for a node" in first
    assert "two.iso" in second
    assert ran.err.splitlines() == [
        "error: gopher://o/x: This URL has no scheme that aria2 downloads.",
        "argument: URL",
    ]


async def test_add_for_scripts(fake: FakeNode, run: Run) -> None:
    ran = await run("create", "http://o/1", "gopher://x", "http://o/2", "-o", "json")
    assert msgspec.json.decode(ran.out, type=list[TaskResource]) == list(fake.tasks.values())
    assert msgspec.json.decode(ran.err, type=Problem).field == "url"
    assert json.loads(ran.err)["url"] == "gopher://x"
    lines = (await run("add", "http://o/3", "http://o/4", "-o", "ndjson")).out.splitlines()
    assert [json.loads(line)["url"] for line in lines] == ["http://o/3", "http://o/4"]


async def test_every_option_reaches_the_node(fake: FakeNode, run: Run) -> None:
    arguments = [
        "--mirror",
        "http://b/x",
        "--out",
        "y.iso",
        "--checksum",
        "md5=00",
        "--priority",
        "High",
        "--node",
        "pi",
    ]
    ran = await run("add", "http://a/x", *arguments, "--option", "split=4", "--header", "X: 1", "--prefer-tag", "a=b")
    assert ran.code == 0
    (made,) = fake.tasks.values()
    assert (made.urls, made.out, made.checksum) == (["http://a/x", "http://b/x"], "y.iso", "md5=00")
    assert (made.priority, made.node, made.options) == ("high", "pi", {"split": "4"})


async def test_a_list_of_downloads(fake: FakeNode, run: Run, tmp_path: Path) -> None:
    listed = tmp_path / "list.txt"
    listed.write_text("# two\nhttp://o/1\n\nhttp://o/2\thttp://p/2\n  out=two\n  dir=deep\n")
    assert (await run("add", "-i", str(listed), "http://o/0", "--to", "top")).code == 0
    assert [(len(task.urls), task.name, task.dir) for task in fake.tasks.values()] == [
        (1, "0", "top"),
        (1, "1", "top"),
        (2, "two", "deep"),
    ]
    listed.write_text("")
    assert (await run("add", "-i", str(listed))).code == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["add"], "URL"),
        (["add", "http://a", "http://b", "--out", "x"], "--out"),
        (["add", "http://a", "http://b", "--mirror", "http://c"], "--mirror"),
        (["add", "http://a", "--tag", "x"], "KEY=VALUE"),
        (["add", "-i", "/nowhere/at/all"], "cannot be read"),
        (["status", "--frob"], "--frob"),
        (["statu"], "status"),
        (["task", "pause"], "ID"),
        (["--url", "ftp://x", "status"], "--url"),
        (["status", "-o", "yaml"], "yaml"),
    ],
)
async def test_wrong_usage_is_told_from_failure(run: Run, arguments: list[str], words: str) -> None:
    ran = await run(*arguments)
    assert ran.code == 2
    assert words in ran.err
    assert ran.out == ""


async def test_an_argument_that_is_no_text_is_refused_in_a_sentence(run: Run) -> None:
    for kind in ("table", "json"):
        ran = await run("add", "http://o/\udcff", "-o", kind)
        assert ran.code == 1
        assert "UTF-8" in ran.err and "mistake" not in ran.err


# -- errors


async def test_no_node_is_an_exit_code_of_its_own(run: Run) -> None:
    for arguments in (["--url", "127.0.0.1:1", "status"], ["add", "http://a", "http://b", "--url", "127.0.0.1:1"]):
        ran = await run(*arguments)
        assert ran.code == 3
        assert ran.err.startswith("error: ") and "ariacluster up" in ran.err
    assert "0 of 2 are known to be added. Say the same again" in ran.err
    ran = await run("status", "--url", "127.0.0.1:1", "-o", "json")
    assert (ran.code, ran.out) == (3, "")
    assert msgspec.json.decode(ran.err, type=Problem).code == "not_reached"


async def test_no_leader_is_an_exit_code_of_its_own(fake: FakeNode, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ariacluster.client.client.NodeClient.__init__.__kwdefaults__", {"deadline": 0.2})
    fake.refusals = [NoLeader("The cluster has no leader.")] * 1000
    assert (await run("add", "http://a")).code == 4
    assert (await run("task", "ls")).code == 4
    fake.refusals = [Overloaded("Too much to do.")] * 1000
    assert (await run("add", "http://a")).code == 1


async def test_a_mistake_of_ours_is_one_line_and_a_traceback_only_if_asked_for(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise KeyError("where\x1b[2J")

    monkeypatch.setattr("ariacluster.cli.cluster_view.glance", broken)
    ran = await run("status")
    assert ran.code == 1
    assert len(ran.err.splitlines()) == 1 and "KeyError" in ran.err and "report" in ran.err and "\x1b" not in ran.err
    ran = await run("--debug", "status")
    assert "Traceback" in ran.err and "\x1b" not in ran.err


# -- around the verbs


async def test_options_for_everything_are_taken_anywhere(fake: FakeNode, run: Run) -> None:
    fake.put(task(1))
    wanted = (await run("task", "ls", "-o", "json")).out
    assert json.loads(wanted)
    for arguments in (
        ["-o", "json", "task", "ls"],
        ["task", "-o", "json", "ls"],
        ["-o", "table", "tasks", "-o", "json"],
    ):
        assert (await run(*arguments)).out == wanted
    assert (await run("--url", "127.0.0.1:1", "task", "ls", "--url", fake.url, "-o", "json")).out == wanted


def every_command() -> list[list[str]]:
    """The words of each, the hidden ones too; without those that only hand over to another program."""
    root: Any = typer.main.get_command(build())
    found = []
    for name, command in root.commands.items():
        verbs = getattr(command, "commands", None)
        if verbs is not None:
            found += [[name, verb] for verb in verbs]
        elif command.add_help_option:
            found.append([name])
    return found


async def test_every_command_explains_itself_with_an_example(run: Run) -> None:
    bare = await run()
    assert bare.code == 0 and "Usage: ariacluster" in bare.out
    for family in ("task", "node", "settings", "cluster"):
        assert "Usage: ariacluster" in (await run(family)).out
    commands = every_command()
    assert ["task", "edit"] in commands and ["create"] in commands and len(commands) > 30
    for words in commands:
        shown = await run(*words, "--help")
        assert shown.code == 0
        assert " ".join(["ariacluster", *words]) in shown.out.partition("Example")[2], words


async def test_the_version(run: Run) -> None:
    ran = await run("--version")
    assert ran.code == 0 and ran.out.startswith("ariacluster ")


@pytest.mark.parametrize(
    "arguments",
    [["task", "ls"], ["task", "show", "00000001"], ["status"], ["node", "ls"], ["task", "pause", "00000001"]],
)
@pytest.mark.parametrize("kind", ["table", "json", "ndjson"])
async def test_nothing_that_a_stranger_names_reaches_the_terminal_as_a_command(
    fake: FakeNode, run: Run, arguments: list[str], kind: str
) -> None:
    fake.put(task(1, name=HOSTILE, worker_name=HOSTILE, worker_id="x", reason=HOSTILE, tags={HOSTILE: HOSTILE}))
    fake.nodes = [node(HOSTILE, trouble=HOSTILE, tags={HOSTILE: "x"}, role="leader")]
    fake.cluster_name = HOSTILE
    ran = await run(*arguments, "-o", kind)
    assert ran.code == 0
    assert "[red]" in ran.out
    for char in "\x1b\x07\x9b\u202e":
        assert char not in ran.out + ran.err
