"""The benchmarks run and leave nothing behind. What they measure is no test."""

import tempfile
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from tests.bench.raft.load import Load, measured, quantile
from tests.bench.raft.run import run
from tests.bench.raft.sizes import SUBJECTS, Sizes

TINY = Sizes(
    name="tiny",
    seconds=0.05,
    nodes=(1,),
    unsynced_nodes=(),
    stock_nodes=(1,),
    kills=1,
    stock_kills=0,
    voters=1,
    learners=1,
    stock_learners=0,
    rows=(200,),
    stock_rows=(),
)


async def tried(subject: str, sizes: Sizes) -> dict[str, Any]:
    """The report as JSON has it, after one subject."""
    report = await run(sizes, [subject])
    assert report.problems == []
    assert psutil.Process().children() == []
    assert list(Path(tempfile.gettempdir()).glob("ariacluster-bench-*")) == []
    told: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(report))
    assert told.keys() == {"size", "machine", "seconds", "problems", *SUBJECTS}
    assert told["machine"]["sync_ms"] > 0
    assert [name for name in SUBJECTS if told[name]] == [subject]
    return told


@pytest.fixture(autouse=True)
def own_temp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


async def test_commits_are_measured_beside_stock() -> None:
    rows = (await tried("commits", TINY))["commits"]
    assert {row["system"] for row in rows} == {"ours", "stock", "stock at its best"}
    assert len(rows) == 3 * len(TINY.loads())
    for row in rows:
        assert row.keys() == {"system", "nodes", "learners", "via", "load", "per_second", "measured"}
        assert row["per_second"] > 0 and row["measured"]["failed"] == 0
        assert 0 < row["measured"]["p50_ms"] <= row["measured"]["p99_ms"] <= row["measured"]["max_ms"]


async def test_failover_is_measured() -> None:
    [row] = (await tried("failover", msgspec.structs.replace(TINY, voters=3)))["failover"]
    assert row.keys() == {"system", "nodes", "kills", "min_s", "p50_s", "p90_s", "max_s"}
    assert row["kills"] == 1 and 0 < row["min_s"] <= row["max_s"]


async def test_learners_are_measured() -> None:
    rows = (await tried("learners", TINY))["learners"]
    assert [(row["nodes"], row["learners"], row["via"]) for row in rows] == [(1, 1, "leader"), (1, 1, "learner")]
    assert all(row["per_second"] > 0 for row in rows)


async def test_a_snapshot_and_a_joining_node_are_measured() -> None:
    rows = (await tried("snapshot", TINY))["snapshot"]
    assert [row["what"] for row in rows] == ["nothing", "a snapshot is made", "a node joins"]
    assert rows[1]["size_mb"] > 0 and rows[2]["size_mb"] > 0
    assert all(row["rows"] == 200 and row["rss_peak_mb"] > 0 for row in rows)


async def test_what_cannot_be_measured_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    unknown = msgspec.structs.replace(TINY, nodes=(), stock_nodes=(), voters=2, kills=1)
    monkeypatch.setattr("tests.bench.raft.cluster.SETTLE_S", 1.0)  # of two nodes, one is no majority
    report = await run(unknown, ["failover"])
    assert report.failover == [] and len(report.problems) == 1
    assert psutil.Process().children() == []


def test_a_quantile_is_one_of_the_values() -> None:
    assert [quantile([3.0, 1.0, 2.0, 4.0], q) for q in (0.0, 0.5, 0.9, 1.0)] == [1.0, 2.0, 4.0, 4.0]
    assert quantile([], 0.5) == 0.0


def test_a_batch_counts_as_its_commands() -> None:
    told = measured([0.001, 0.002], 0.5, Load(name="batches", window=1, batch=20), failed=1)
    assert (told.commands, told.per_second, told.failed) == (40, 80.0, 1)
    assert (told.p50_ms, told.p99_ms) == (1.0, 2.0)
