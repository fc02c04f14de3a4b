"""`ariacluster doctor` as a person runs it: beside a node, and where none is."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support import nodes, ports

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]


async def doctor(*arguments: str) -> tuple[int, list[dict[str, Any]]]:
    """Exit code and findings."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "ariacluster.cli.main", "-o", "json", "doctor", "--bind", "127.0.0.1", *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(60):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert err == b"", err
    return process.returncode or 0, json.loads(out)


def of(found: list[dict[str, Any]], check: str) -> str:
    """What is said of a check, worst first word: `state: says`, a line each."""
    return "\n".join(f"{f['state']}: {f['says']}" for f in found if f["check"] == check)


async def test_beside_a_node_and_another_one_that_it_hears(tmp_path: Path) -> None:
    async with nodes.cluster(tmp_path, 2, mdns=True) as cluster:
        one, two = cluster.nodes
        mine = ["--cluster", one.cluster, "--dir", str(one.downloads), "--port", str(one.port)]
        (code, found), (wrong, strange) = await asyncio.gather(
            doctor(*mine, "--data", str(one.data)), doctor(*mine, "--data", str(tmp_path / "other"))
        )
        assert code == 0, found
        assert f"pid {one.process.pid}" in of(found, "data folder") and one.cluster in of(found, "data folder")
        assert of(found, "ports").count("served by the node that runs here") == 2
        assert "goes both ways between this machine and node2." in of(found, "multicast")
        assert f"Heard of the cluster '{one.cluster}': node2" in of(found, "multicast")
        assert of(found, "nodes") == "ok: Reached: node2."
        assert of(found, "versions").startswith("ok: ") and of(found, "clocks").startswith("ok: ")
        assert of(found, "cluster").startswith("ok: ")
        assert (wrong, "another data folder" in of(strange, "ports")) == (0, True), strange
        assert not (tmp_path / "other").exists()
        assert (await two.get("/nodes"))[0] == 200 and len((await two.get("/nodes"))[1]) == 2


async def test_where_no_node_runs(tmp_path: Path) -> None:
    port = ports.free_ports(2)
    silent = ports.free_port()
    code, found = await doctor(
        "--port", str(port), "--data", str(tmp_path / "data"), "--dir", str(tmp_path / "downloads"), "--no-mdns",
        "--join", f"127.0.0.1:{silent}",
    )  # fmt: skip
    assert code == 1, "who is to be joined is not there"
    assert of(found, "nodes") == f"problem: 127.0.0.1:{silent} refuses the connection."
    assert of(found, "ports").count("is free") == 2
    assert of(found, "cluster").startswith("skipped: ") and of(found, "multicast").startswith("skipped: ")
    assert of(found, "data folder").startswith("ok: ") and of(found, "aria2c").startswith("ok: ")
    assert list(tmp_path.iterdir()) == [], "nothing was made"
