"""A running node held to its own description: whatever is asked, no fault, no undocumented answer, no other shape."""

import sys
from pathlib import Path

import pytest

from tests.support import nodes, processes

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

SECONDS = 30
"""For all requests together; what is sent follows from the seed."""

ENDLESS = "/events"
LAST = ["/cluster/recover", "/cluster/merge"]
"""A stream has no end to wait for; and who begins a new cluster has another one to ask."""

CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,"
    "response_schema_conformance,unsupported_method,allow_header_conformance"
)


async def test_it_keeps_its_word(tmp_path: Path) -> None:
    async with nodes.cluster(tmp_path, 1) as cluster:
        node = cluster.nodes[0]
        for number in range(3):
            status, told = await node.post("/tasks", {"url": f"http://127.0.0.1:9/{number}", "tags": {"a": "b"}})
            assert status == 201, told
        tester = await processes.start(
            [
                str(Path(sys.executable).with_name("schemathesis")), "run", f"http://{node.address}/openapi.json",
                "--seed", "11", "--generation-database", "none", "--max-examples", "25", "--max-time", str(SECONDS),
                "--phases", "examples,coverage,fuzzing", "--checks", CHECKS, "--mode", "all", "--continue-on-failure",
                "--exclude-path", ENDLESS, *(word for path in LAST for word in ("--exclude-path", path)),
                "--suppress-health-check", "all", "--warnings", "off", "--no-color", "--request-timeout", "10",
            ],
            tmp_path, name="tester", cwd=tmp_path,
        )  # fmt: skip
        code = await tester.wait(timeout=150)
        assert code == 0, await tester.text()
        assert (await node.get("/readyz"))[0] == 200
