"""The API of one real node: shapes, paging, verbs, and a problem document for every kind of bad input."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from yarl import URL

from tests.support import nodes, processes
from tests.support.nodes import Node

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

NEVER = "http://127.0.0.1:9/file.bin"


@pytest_asyncio.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    async with nodes.cluster(tmp_path, 1) as cluster:
        yield cluster.nodes[0]


BAD = [
    (b"{", None, "not JSON"),
    ({}, "url", "url"),
    ({"url": NEVER, "urls": [NEVER]}, "url", "either"),
    ({"url": NEVER, "speed": 3}, "speed", "no field"),
    ({"url": 3}, "url", "Expected"),
    ({"url": "gopher://host/x"}, "url", "scheme"),
    ({"url": "file:///etc/passwd"}, "url", "scheme"),
    ({"url": NEVER, "dir": "../up"}, "dir", "inside"),
    ({"url": NEVER, "dir": "/etc"}, "dir", "inside"),
    ({"url": NEVER, "out": "a/b"}, "out", "without folders"),
    ({"url": NEVER, "options": {"on-download-complete": "/bin/sh"}}, "options.on-download-complete", "program"),
    ({"url": NEVER, "options": {"dir": "/etc"}}, "options.dir", "inside"),
    ({"url": NEVER, "options": {"no-such": "1"}}, "options.no-such", "no option"),
    ({"url": NEVER, "priority": "asap"}, "priority", "low"),
    ({"url": NEVER, "checksum": "sha-256=12"}, "checksum", "TYPE=HEX"),
    ({"url": NEVER, "headers": ["broken"]}, "headers[0]", "Name: value"),
]


async def test_bad_input_is_told(node: Node) -> None:
    for body, field, words in BAD:
        status, problem = await node.call(
            "POST", "/tasks", body, {"Content-Type": "application/json"} if isinstance(body, bytes) else None
        )
        assert status == 400, (body, problem)
        assert problem["status"] == 400
        assert problem.get("field") == field, (body, problem)
        assert words in problem["detail"], (body, problem)
        assert problem["title"]
        assert problem["code"] == "invalid_input"
    assert (await node.get("/tasks"))[1] == [], "nothing was half applied"


async def test_other_refusals(node: Node) -> None:
    cases: list[tuple[str, str, Any, dict[str, str], int, str]] = [
        ("POST", "/tasks", b"url=x", {"Content-Type": "application/x-www-form-urlencoded"}, 415, "unsupported_media_type"),
        ("POST", "/tasks/bulk", b'{"verb": "' + b"x" * 1_100_000 + b'"}', {"Content-Type": "application/json"}, 413,
         "payload_too_large"),
        ("GET", "/tasks/0123456789abcdef", None, {}, 404, "no_such_task"),
        ("GET", "/nothing", None, {}, 404, "not_found"),
        ("PUT", "/tasks", None, {}, 405, "method_not_allowed"),
        ("GET", "/tasks?limit=0", None, {}, 400, "invalid_input"),
        ("GET", "/tasks?limit=x", None, {}, 400, "invalid_input"),
        ("GET", "/tasks?state=lost", None, {}, 400, "invalid_input"),
        ("GET", "/tasks?colour=red", None, {}, 400, "invalid_input"),
        ("GET", "/nodes/nobody", None, {}, 404, "not_found"),
        ("GET", "/peers/reports", None, {}, 403, "forbidden"),
    ]  # fmt: skip
    for method, path, body, headers, status, code in cases:
        answered, problem = await node.call(method, path, body, headers)
        assert (answered, problem["code"]) == (status, code), (method, path, problem)
        assert problem["detail"]


async def test_life_of_a_task(node: Node) -> None:
    status, task = await node.post(
        "/tasks", {"url": "http://u:pa55word@127.0.0.1:9/a%20b.bin", "tags": {"gpu": "yes"}, "headers": ["Cookie: s=1"]}
    )
    assert status == 201
    assert task["status"] == "pending"
    assert task["name"] == "a b.bin"
    assert task["aria2_gid"] == task["id"]

    async def told() -> bool:
        return bool((await node.get(f"/tasks/{task['id']}"))[1]["reason"] == "No online node has tag gpu=yes.")

    await processes.until(told, "it says why it waits")
    assert "pa55word" not in str(task)
    assert "s=1" not in str(task)
    path = f"/tasks/{task['id']}"
    assert (await node.post(f"{path}/resume"))[1]["code"] == "illegal_move"
    assert (await node.post(f"{path}/pause"))[1]["status"] == "paused"
    assert (await node.post(f"{path}/resume"))[1]["status"] == "pending"
    assert (await node.post(f"{path}/cancel"))[1]["status"] == "canceled"
    assert (await node.post(f"{path}/retry"))[1]["status"] == "pending"
    assert (await node.post(f"{path}/explode"))[0] == 404
    assert (await node.get(f"/tasks/{task['id'][:8]}"))[1]["id"] == task["id"]
    assert (await node.call("DELETE", path))[1] == {"message": f"Task {task['id']} deleted"}
    assert (await node.get(path))[0] == 404


async def test_idempotency_key(node: Node) -> None:
    first = await node.post("/tasks", {"url": NEVER}, **{"Idempotency-Key": "k1"})
    again = await node.post("/tasks", {"url": NEVER}, **{"Idempotency-Key": "k1"})
    assert first[0] == again[0] == 201
    assert first[1]["id"] == again[1]["id"]
    status, problem = await node.post("/tasks", {"url": f"{NEVER}2"}, **{"Idempotency-Key": "k1"})
    assert status == 409, problem
    assert len((await node.get("/tasks"))[1]) == 1
    await node.call("DELETE", f"/tasks/{first[1]['id']}")
    status, problem = await node.post("/tasks", {"url": NEVER}, **{"Idempotency-Key": "k1"})
    assert (status, problem["code"]) == (409, "conflict"), "what was removed does not come back by a late repeat"


async def test_pages(node: Node) -> None:
    ids = [
        (await node.post("/tasks", {"url": NEVER, "tags": {"no": "node"}, "force": True}))[1]["id"] for _ in range(7)
    ]
    seen: list[str] = []
    path: str | None = "/tasks?limit=3&state=pending"
    while path:
        async with aiohttp.ClientSession() as session, session.get(f"http://{node.address}{path}") as response:
            assert response.headers["X-Total-Count"] == "7"
            seen += [task["id"] for task in await response.json()]
            link = response.links.get("next")
            path = URL(str(link["url"])).path_qs if link else None
    assert seen == ids


async def test_status_and_nodes(node: Node) -> None:
    _, status = await node.get("/status")
    assert status["cluster"]["leader"]["name"] == node.name
    assert status["cluster"]["has_quorum"] is True
    assert status["active_workers"] == 1
    assert set(status["tasks_by_status"]) >= {"pending", "queued", "downloading", "completed", "failed", "canceled"}
    _, listed = await node.get("/nodes")
    _, workers = await node.get("/workers")
    [one] = listed
    assert [w["id"] for w in workers] == [one["id"]]
    assert one["status"] == "online"
    assert one["role"] == "leader"
    assert one["total_slots"] == 5
    assert one["disk_total"] > one["disk_free"] > 0
    assert one["engine"]
    assert (await node.get(f"/nodes/{one['name']}"))[1]["id"] == one["id"]
    assert (await node.get("/livez"))[0] == 200
