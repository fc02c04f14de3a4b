"""What a node tells Prometheus, read by Prometheus' own parsers; and when it calls itself ready."""

import socket
from collections.abc import AsyncIterator, Iterable

import aiohttp
import pytest
from prometheus_client.openmetrics import parser as open_metrics
from prometheus_client.parser import text_string_to_metric_families as plain

from ariacluster.domain.commands import Assign, Complete, Fail, Start, Submit
from ariacluster.domain.member import Report
from ariacluster.domain.task import FailureKind, Result
from ariacluster_node.api import metrics as metrics_api
from ariacluster_node.api.app import make_app
from ariacluster_node.api.gate import opened
from ariacluster_node.lifecycle import cancelled_at_exit
from ariacluster_node.services import measures as room
from ariacluster_node.services.measures import Measures
from tests.support.docs import DOCS
from tests.support.fake_site import SPEC, FakeSite, until

A, B, M = "a" * 16, "b" * 16, "m" * 8


@pytest.fixture
async def site() -> FakeSite:
    site = FakeSite()
    await site.up("mn")
    return site


@pytest.fixture
async def measures(site: FakeSite, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Measures]:
    monkeypatch.setattr(room, "LOOK_EVERY", 0.001)
    measures = Measures(site.nodes["m"].replica)
    async with cancelled_at_exit(measures.run()):
        yield measures


@pytest.fixture
async def url(site: FakeSite, measures: Measures) -> AsyncIterator[str]:
    node = site.nodes["m"]
    app = make_app(node.services)
    metrics_api.open_to(app, measures, node.hub)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        async with opened(app, taken):
            yield f"http://127.0.0.1:{taken.getsockname()[1]}"


async def get(url: str, accept: str = "") -> tuple[int, str, str]:
    async with aiohttp.ClientSession() as session, session.get(url, headers={"Accept": accept}) as response:
        return response.status, response.headers["Content-Type"], await response.text()


def read(families: Iterable[object]) -> dict[str, float]:
    return {
        sample.name + "".join(f" {value}" for value in sample.labels.values()): sample.value
        for family in families
        for sample in family.samples  # type: ignore[attr-defined]
    }


async def test_what_is_told(site: FakeSite, measures: Measures, url: str) -> None:
    node = site.nodes["m"]
    await node.replica.propose([Submit(A, SPEC)])
    await site.say(Submit(B, SPEC), Assign(A, 1, M, ""), Assign(B, 1, M, ""), Start(A, 1))
    await site.say(Complete(A, 1, Result(total_bytes=70, file_count=1)), Fail(B, 1, FailureKind.ORIGIN, 22, "404", 0.5))
    node.roster.hear(Report(node=M, download_speed=5, disk_free=3, disk_total=9))
    await until(lambda: measures.elections == 1)
    status, kind, text = await get(f"{url}/metrics")
    assert (status, kind.split(";")[0]) == (200, "text/plain")
    told = read(plain(text))
    for name, value in {
        "leader": 1, "has_leader": 1, "has_quorum": 1, "ready": 1, "members": 2, "voters": 2, "elections_total": 1,
        "tasks completed": 1, "tasks failed": 0, "tasks pending": 1, "node_tasks m downloading": 0,
        "attempts_failed_total origin": 1, "tasks_finished_total completed": 1, "finished_bytes_total": 70,
        "node_download_bytes_per_second m": 5, "node_disk_free_bytes m": 3, "node_online m": 1, "node_online n": 0,
        "event_subscribers": 0, "commit_seconds_bucket +Inf": 3, "commit_seconds_count": 3,
    }.items():  # fmt: skip
        assert told[f"ariacluster_{name}"] == value, name
    assert told["ariacluster_applied_index"] > 0
    assert told["ariacluster_loop_lag_seconds_count"] > 0


async def test_every_metric_is_explained(url: str) -> None:
    explained = (DOCS / "operations.md").read_text("utf-8")
    text = (await get(f"{url}/metrics"))[2]
    names = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    assert len(names) > 20
    assert not [name for name in names if f"`{name}" not in explained]


async def test_open_metrics_is_spoken_too(url: str) -> None:
    status, kind, text = await get(f"{url}/metrics", "application/openmetrics-text; version=1.0.0")
    assert (status, kind.split(";")[0]) == (200, "application/openmetrics-text")
    assert text.endswith("# EOF\n")
    assert read(open_metrics.text_string_to_metric_families(text))["ariacluster_leader"] == 1  # type: ignore[no-untyped-call]


async def test_a_node_without_a_leader_is_ready_for_those_who_need_none(site: FakeSite, url: str) -> None:
    assert (await get(f"{url}/readyz"))[0] == 200
    site.consensus.depose()
    status, kind, text = await get(f"{url}/readyz")
    assert (status, kind) == (503, "application/problem+json")
    assert '"no_leader"' in text
    assert (await get(f"{url}/readyz?no_leader"))[0] == 200
    assert (await get(f"{url}/readyz?leader"))[0] == 400
    assert (await get(f"{url}/metrics"))[0] == 200
    site.nodes["m"].replica.detach()
    assert (await get(f"{url}/readyz?no_leader"))[0] == 503
    told = read(plain((await get(f"{url}/metrics"))[2]))
    assert (told["ariacluster_has_leader"], told["ariacluster_ready"]) == (0, 0)
