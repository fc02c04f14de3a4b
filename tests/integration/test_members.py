"""Members that come and go: who votes, who was taken off, who lost its log, who was told to come again as new."""

import shutil
from pathlib import Path
from typing import Any

from tests.support.nodes import Cluster, Node, cluster
from tests.support.processes import until


async def roles(node: Node) -> dict[str, str]:
    """Role by name, as `node` tells."""
    _, nodes = await node.get("/nodes")
    return {one["name"]: one["role"] for one in nodes}


async def voting(made: Cluster, names: str, *, timeout: float = 30.0) -> None:
    """Every living node says that exactly these (numbers of nodes) vote or lead."""
    wanted = sorted(f"node{number}" for number in names)

    async def agreed() -> bool:
        told = [await roles(node) for node in made.living()]
        return all(sorted(name for name, role in one.items() if role != "learner") == wanted for one in told)

    await until(agreed, f"{wanted} vote", timeout=timeout)


async def another(made: Cluster, work: Path, number: int) -> Node:
    """One more node, told of all the living."""
    node = Node(f"node{number}", work, made.nodes[0].cluster)
    await node.start("--no-mdns", *(word for known in made.living() for word in ("--join", known.address)))
    made.nodes.append(node)
    await node.ready()
    return node


async def taken_off(by: Node, name: str, *, force: bool = False) -> tuple[int, Any]:
    return await by.call("DELETE", f"/nodes/{name}{'?force=true' if force else ''}")


async def test_a_dead_voter_is_taken_off_and_a_learner_takes_its_place(tmp_path: Path) -> None:
    async with cluster(tmp_path) as made:
        await another(made, tmp_path, 4)
        await voting(made, "123")
        leader = await made.leader()
        dead = next(node for node in made.nodes[:3] if node is not leader)
        status, problem = await taken_off(leader, dead.name)
        assert (status, problem["code"]) == (409, "conflict")
        await dead.kill()

        async def offline() -> bool:
            _, node = await leader.get(f"/nodes/{dead.name}")
            return bool(node["status"] == "offline")

        await until(offline, f"{dead.name} is offline", timeout=20)
        status, said = await taken_off(leader, dead.name)
        assert (status, dead.name in said["message"]) == (200, True)
        await voting(made, "1234".replace(dead.name[-1], ""))
        # Started as it was it comes back, and learns.
        await dead.start("--no-mdns")
        await dead.ready()
        await voting(made, "1234".replace(dead.name[-1], ""))
        assert (await roles(leader))[dead.name] == "learner"


async def test_a_leader_that_is_taken_off_hands_over(tmp_path: Path) -> None:
    async with cluster(tmp_path) as made:
        await voting(made, "123")
        old = await made.leader()
        assert (await taken_off(old, old.name, force=True))[0] == 200
        left = [node for node in made.nodes if node is not old]

        async def gone() -> bool:
            told = [await roles(node) for node in left]
            return all(sorted(one.values()) == ["leader", "voter"] and old.name not in one for one in told)

        await until(gone, "two are left, and one of them leads", timeout=20)


async def test_a_node_that_lost_its_log_comes_back_only_as_a_new_one(tmp_path: Path) -> None:
    async with cluster(tmp_path) as made:
        await voting(made, "123")
        leader = await made.leader()
        lost = next(node for node in made.nodes if node is not leader)
        _, before = await leader.get(f"/nodes/{lost.name}")
        assert await lost.stop() == 0
        shutil.rmtree(lost.data / "raft")
        await lost.start("--no-mdns")
        assert await lost.process.wait() == 1
        assert "log of this node" in await lost.process.text()
        assert (await taken_off(leader, before["id"], force=True))[0] == 200
        shutil.rmtree(lost.data)
        await lost.start("--no-mdns", "--join", leader.address)
        await lost.ready()
        await voting(made, "123")
        _, after = await leader.get(f"/nodes/{lost.name}")
        assert after["id"] != before["id"]
