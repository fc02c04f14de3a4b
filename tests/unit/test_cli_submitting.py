"""Many downloads in few requests: their order, what is refused, what is said where it breaks off."""

import json
from base64 import b64encode
from pathlib import Path
from typing import Any

import msgspec

from ariacluster.cli.submitting import MOST_BYTES, MOST_TASKS, Wanted, parts
from ariacluster.domain.document import MAX_DOCUMENT
from ariacluster.domain.errors import Duplicate, InvalidInput, MethodNotAllowed, NoQuorum
from ariacluster.wire.problems import Problem
from ariacluster.wire.requests import TaskCreate
from ariacluster.wire.resources import TaskResource
from tests.support.fake_node import FakeNode, Run


def wanted(number: int, **fields: Any) -> Wanted:
    return Wanted(TaskCreate(url=f"http://o/{number}", **fields), str(number))


def test_a_list_is_cut_into_requests_that_a_node_takes() -> None:
    many = [wanted(number) for number in range(2 * MOST_TASKS + 1)]
    assert [len(part) for part in parts(many)] == [MOST_TASKS, MOST_TASKS, 1]
    assert [item for part in parts(many) for item in part] == many, "in their order"
    assert list(parts([])) == []
    long = [wanted(number, out="x" * 300_000) for number in range(7)]
    assert all(len(msgspec.json.encode([item.task for item in part])) < MOST_BYTES + 1000 for part in parts(long))
    assert [len(part) for part in parts(long)] == [2, 2, 2, 1]


def test_a_document_goes_alone() -> None:
    document = Wanted(TaskCreate(torrent="eA=="), "x.torrent")
    assert [len(part) for part in parts([wanted(1), document, wanted(2), wanted(3)])] == [1, 1, 2]


async def test_thousands_are_counted_and_keep_their_order(fake: FakeNode, run: Run, tmp_path: Path) -> None:
    listed = tmp_path / "list.txt"
    listed.write_text("\n".join([*(f"http://o/{number}" for number in range(1500)), "gopher://x", "http://o/last"]))
    ran = await run("add", "-i", str(listed))
    assert ran.code == 1 and ran.out == ""
    assert [task.name for task in fake.tasks.values()] == [*(str(number) for number in range(1500)), "last"]
    assert [request for request in fake.requests if request.startswith("POST")] == ["POST /tasks/batch"] * 2
    assert f"error: {listed}:1501: gopher://x: This URL has no scheme" in ran.err
    assert ran.err.endswith("1,501 tasks added, 1 refused.\n")


async def test_of_many_that_are_refused_some_are_named_and_all_are_counted(
    fake: FakeNode, run: Run, tmp_path: Path
) -> None:
    listed = tmp_path / "list.txt"
    listed.write_text("gopher://x\n" * 25)
    ran = await run("add", "-i", str(listed))
    assert ran.code == 1 and ran.err.count("error: ") == 20
    assert "0 tasks added, 25 refused (the first 20 are shown)." in ran.err
    assert (await run("add", "-i", str(listed), "-o", "json")).err.count("gopher://x") == 25, "a script hears of each"


async def test_scripts_get_whole_tasks(fake: FakeNode, run: Run) -> None:
    many = [f"http://o/{number}" for number in range(30)]
    lines = (await run("add", *many, "-o", "ndjson")).out.splitlines()
    assert [msgspec.json.decode(line, type=TaskResource).url for line in lines] == many
    told = (await run("add", *many, "--force", "-o", "json")).out
    assert len(json.loads(told)) == 30 and len(fake.tasks) == 60


async def test_what_another_task_fetches_is_refused_with_its_name(fake: FakeNode, run: Run) -> None:
    assert (await run("add", "http://o/x")).code == 0
    first = next(iter(fake.tasks))
    for arguments in (["http://o/x"], ["http://o/x", "http://o/y"]):
        ran = await run("add", *arguments)
        assert ran.code == 1 and first in ran.err and "Say --force to fetch it once more." in ran.err
    told = msgspec.json.decode((await run("add", "http://o/x", "-o", "json")).err, type=Problem)
    assert (told.code, told.task) == ("duplicate", first)
    fake.refusals = [Duplicate("It is fetched already. Say force to fetch it all the same.", task=first)]
    assert (await run("add", "http://o/x")).err.count("Say --force to fetch it all the same.") == 1
    assert (await run("add", "http://o/x", "--force")).code == 0
    assert [task.name for task in fake.tasks.values()] == ["x", "y", "x"]


async def test_documents_of_this_machine(fake: FakeNode, run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.torrent").write_bytes(b"d4:infode")
    (tmp_path / "b.META4").write_bytes(b"<metalink/>")
    ran = await run("add", str(tmp_path / "a.torrent"), str(tmp_path / "b.META4"), "http://o/c.torrent", "--paused")
    assert (ran.code, ran.err) == (0, "")
    assert [(task.document, task.status) for task in fake.tasks.values()] == [
        ("torrent", "paused"),
        ("metalink", "paused"),
        (None, "paused"),
    ]
    assert json.loads(fake.bodies[0])["tasks"][0]["torrent"] == b64encode(b"d4:infode").decode()
    largest = tmp_path / "largest.torrent"
    largest.write_bytes(bytes(MAX_DOCUMENT))
    assert (await run("add", str(largest))).code == 0
    largest.write_bytes(bytes(MAX_DOCUMENT + 1))
    ran = await run("add", str(largest))
    assert ran.code == 2 and "has 15,728,641 bytes; a node takes 15,728,640" in " ".join(
        ran.err.replace("│", " ").split()
    )
    ran = await run("add", str(tmp_path / "none.torrent"))
    assert ran.code == 2 and "cannot be read: No such file" in " ".join(ran.err.split())
    (tmp_path / "list.txt").write_text("http://o/x")
    ran = await run("add", str(tmp_path / "list.txt"))
    assert ran.code == 2 and "say --input-file" in " ".join(ran.err.replace("│", " ").split())
    ran = await run("add", str(tmp_path / "a.torrent"), "--mirror", "http://o/x")
    assert ran.code == 2 and "--mirror" in ran.err


async def test_a_node_that_knows_no_batches_is_asked_one_by_one(fake: FakeNode, run: Run) -> None:
    fake.refusals = [MethodNotAllowed("This path takes GET.")]
    ran = await run("add", "http://o/1", "gopher://x", "http://o/2")
    assert ran.code == 1 and "gopher://x" in ran.err
    assert [task.name for task in fake.tasks.values()] == ["1", "2"]


async def test_where_it_breaks_off_is_said(fake: FakeNode, run: Run, tmp_path: Path) -> None:
    listed = tmp_path / "list.txt"
    listed.write_text("\n".join(f"http://o/{number}" for number in range(MOST_TASKS + 5)))
    asked = fake._submit_batch

    async def once(request: object) -> object:
        fake.refusals = [NoQuorum("A majority is lost: beta, gamma.")]
        return await asked(request)  # type: ignore[arg-type]

    fake._submit_batch = once  # type: ignore[method-assign, assignment]
    await fake.stop()
    await fake.start()
    ran = await run("add", "-i", str(listed))
    assert ran.code == 4
    assert "A majority is lost" in ran.err
    assert f"{MOST_TASKS:,} of {MOST_TASKS + 5:,} are known to be added. Say the same again" in ran.err


async def test_what_is_wrong_is_called_as_it_was_said(fake: FakeNode, run: Run) -> None:
    for field, said in (
        ("dir", "--to"),
        ("options.foo", "--option foo"),
        ("headers[1]", "--header 1"),
        ("new", "field: new"),
    ):
        fake.refusals = [InvalidInput("Not that.", field=field)]
        assert (await run("add", "http://o/x")).err.splitlines()[1].removeprefix("argument: ") == said
    fake.refusals = [InvalidInput("Not that.", field="dir")]
    assert msgspec.json.decode((await run("add", "http://o/x", "-o", "json")).err, type=Problem).field == "dir"
    fake.refusals = [InvalidInput("Not that.", field="node")]
    assert "argument: --to" in (await run("task", "move", "1", "--to", "x")).err


async def test_an_empty_list_says_so(fake: FakeNode, run: Run, tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("# nothing\n")
    ran = await run("add", "-i", str(tmp_path / "empty"))
    assert (ran.code, ran.out) == (0, "") and "nothing was added" in ran.err
