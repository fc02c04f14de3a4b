"""What happened and what is happening: read back page by page, and followed over lost connections."""

import asyncio
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from ariacluster.cli.commands import events
from ariacluster.wire.events import History
from ariacluster.wire.resources import HistoryEntry
from tests.support.fake_node import FakeNode, Ran, Run, happened, launch, task


def seqs(ran: Ran) -> list[int]:
    return [msgspec.json.decode(line, type=HistoryEntry).seq for line in ran.out.splitlines()]


async def test_the_latest_are_shown_the_oldest_of_them_first(fake: FakeNode, run: Run) -> None:
    fake.history = [happened(number, f"Thing {number}.") for number in range(1, 81)]
    ran = await run("events")
    lines = ran.out.splitlines()
    assert len(lines) == 50 and lines[0].endswith("✓ Thing 31.") and lines[-1].endswith("✓ Thing 80.")
    assert len((await run("history", "-n", "3")).out.splitlines()) == 3
    assert len(msgspec.json.decode((await run("events", "-o", "json")).out, type=list[HistoryEntry])) == 50


async def test_the_past_is_read_page_by_page(fake: FakeNode, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "PAGE", 10)
    fake.history = [happened(number, "x") for number in range(1, 46)]
    assert seqs(await run("events", "--since", "7", "-o", "ndjson")) == list(range(8, 46))
    assert seqs(await run("events", "--limit", "25", "-o", "ndjson")) == list(range(21, 46))
    assert seqs(await run("events", "--since", "0", "-o", "ndjson")) == list(range(1, 46))


async def test_since_a_time(fake: FakeNode, run: Run) -> None:
    now = datetime.now(UTC)
    fake.history = [happened(number, "x", at=now - timedelta(hours=10 - number)) for number in range(1, 10)]
    assert seqs(await run("events", "--since", "150m", "-o", "ndjson")) == [8, 9]
    since = (now - timedelta(hours=3, minutes=1)).isoformat()
    assert seqs(await run("events", "--since", since, "-o", "ndjson")) == [7, 8, 9]
    wrong = await run("events", "--since", "yesterday")
    assert wrong.code == 2 and "--since" in wrong.err


async def test_only_what_is_asked_for(fake: FakeNode, run: Run) -> None:
    one = task(1)
    fake.put(one)
    fake.history = [
        happened(1, "a", task=one.id, node="id-nas", node_name="nas"),
        happened(2, "b", kind="node_lost", node="id-pi", node_name="pi"),
        happened(3, "c", kind="task_failed", task="f" * 16, who="anna"),
    ]
    assert seqs(await run("events", "--task", "00000001", "-o", "ndjson")) == [1]
    assert seqs(await run("events", "--node", "pi", "-o", "ndjson")) == [2]
    assert seqs(await run("events", "--kind", "node_lost,task_failed", "-o", "ndjson")) == [2, 3]
    assert "c  (anna)" in (await run("events")).out
    nothing = await run("events", "--kind", "cluster_merged")
    assert (nothing.code, nothing.out) == (0, "") and "Nothing of that kind" in nothing.err
    assert (await run("events", "--follow", "-o", "json")).code == 2


async def test_following_goes_on_over_a_lost_connection(fake: FakeNode) -> None:
    fake.history = [happened(1, "First.")]
    process = await launch("events", "--follow", "--kind", "task_completed", url=fake.url)
    assert process.stdout is not None and process.stderr is not None

    async def told() -> str:
        assert process.stdout is not None
        return (await asyncio.wait_for(process.stdout.readline(), 20)).decode().strip()

    assert (await told()).endswith("First.")
    await fake.frames.put(History(entry=happened(2, "Other.", kind="node_lost")))
    await fake.frames.put(History(entry=happened(3, "Second.")))
    assert (await told()).endswith("Second.")
    await fake.frames.put(None)
    fake.history.append(happened(4, "Meanwhile."))
    assert (await told()).endswith("Meanwhile.")
    process.terminate()
    _, err = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 143
    assert err.decode().splitlines()[0].startswith("reconnecting… ") and "connected again" in err.decode()
