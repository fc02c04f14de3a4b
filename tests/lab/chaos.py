"""Faults at random, round after round, while downloads of mixed sizes run: `python -m tests.lab.chaos --rounds 300`.

Each round does one harm to a LAN of five (a kill, a cut, a pause, a drain …), lasts a second or three, and undoes it. In the
end everything is mended, and every file must lie on exactly one host, right to the last byte, with nothing else beside it.
"""

import argparse
import asyncio
import contextlib
import hashlib
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import psutil

from .downloads import FINAL, STAGING, litter
from .host import Host, Refused
from .lab import Lab
from .origin import LanOrigin

FLAGS = ("--node-timeout", "4", "--slots", "8")

SIZES = ((0.7, 5_000, 400_000), (0.24, 400_000, 4_000_000), (0.06, 4_000_000, 16_000_000))
"""Share of the downloads, and between which sizes (bytes)."""

RATE = 2_000_000
"""Bytes per second of a connection to one of the large ones: they live through several rounds."""


class Summary(msgspec.Struct, kw_only=True):
    """What happened, and what was wrong in the end: nothing, if all is well."""

    seed: int
    rounds: int
    downloads: int
    seconds: float = 0.0
    faults: dict[str, int] = {}
    attempts: int = 0
    fetched: int = 0
    wanted: int = 0
    wrong: list[str] = []


class Chaos:
    """One run. `say` is told what happens."""

    def __init__(self, lab: Lab, origin: LanOrigin, seed: int, say: Callable[[str], None]) -> None:
        self._lab = lab
        self._origin = origin
        self._dice = random.Random(seed)
        self._say = say
        self._sizes: dict[str, int] = {}
        self._ids: dict[str, str] = {}
        self.faults: Counter[str] = Counter()

    async def run(self, rounds: int, downloads: int) -> None:
        for number in range(rounds):
            wanted = downloads * (number + 1) // rounds - len(self._ids)
            name, harm = self._dice.choice(self._harms())
            victim = self._dice.choice(self._lab.hosts)
            self._say(f"round {number + 1}: {name} {victim.name}, {wanted} new downloads")
            self.faults[name] += 1
            await asyncio.gather(harm(victim), self._submit(wanted))

    def _harms(self) -> list[tuple[str, Callable[[Host], Any]]]:
        return [
            ("kill", self._kill),
            ("kill the leader instead of", self._kill_leader),
            ("stop", self._stop),
            ("pause", self._pause),
            ("cut", self._cut),
            ("cut one way", self._cut_one_way),
            ("cut the power of", self._power_cut),
            ("kill aria2c of", self._kill_engine),
            ("drain", self._drain),
            ("move a task to", self._move),
            ("pause and resume a task, not", self._pause_task),
        ]

    async def _kill(self, victim: Host) -> None:
        await victim.kill()
        await self._breathe()
        await self._again(victim)

    async def _kill_leader(self, victim: Host) -> None:
        said = await self._ask("GET", "/status")
        leader = (said or {}).get("cluster", {}).get("leader")
        await self._kill(self._lab.host(leader["name"]) if leader else victim)

    async def _stop(self, victim: Host) -> None:
        await victim.stop()
        await self._breathe()
        await self._again(victim)

    async def _pause(self, victim: Host) -> None:
        await victim.pause()
        await self._breathe(most=6)
        await victim.resume()

    async def _cut(self, victim: Host) -> None:
        await self._lab.cut(victim)
        await self._breathe(most=6)
        await self._lab.heal(victim)

    async def _cut_one_way(self, victim: Host) -> None:
        other = self._dice.choice([host for host in self._lab.hosts if host is not victim])
        await self._lab.cut(victim, other, one_way=True)
        await self._breathe(most=6)
        await self._lab.heal(victim)

    async def _power_cut(self, victim: Host) -> None:
        await self._lab.cut(victim)
        await self._kill(victim)
        await self._lab.heal(victim)

    async def _kill_engine(self, victim: Host) -> None:
        await self._lab.look()
        if victim.facts.pid:
            with contextlib.suppress(psutil.Error):
                for child in psutil.Process(victim.facts.pid).children(recursive=True):
                    if "aria2c" in child.name():
                        child.send_signal(signal.SIGKILL)
        await self._breathe()

    async def _drain(self, victim: Host) -> None:
        await self._ask("POST", f"/nodes/{victim.name}/drain", {"finish_within": self._dice.choice([0, 0, 1])})
        await self._breathe()
        await self._ask("POST", f"/nodes/{victim.name}/undrain", patient=True)

    async def _move(self, victim: Host) -> None:
        running = await self._ask("GET", "/tasks?state=downloading,queued&limit=20") or []
        for task in running[:3]:
            await self._ask("POST", f"/tasks/{task['id']}/move", {"node": victim.name})
        await self._breathe()

    async def _pause_task(self, victim: Host) -> None:
        running = await self._ask("GET", "/tasks?state=downloading,queued&limit=20") or []
        for task in running[:3]:
            await self._ask("POST", f"/tasks/{task['id']}/pause")
        await self._breathe()
        for task in running[:3]:
            await self._ask("POST", f"/tasks/{task['id']}/resume", patient=True)

    async def _breathe(self, most: float = 3.0) -> None:
        await asyncio.sleep(self._dice.uniform(0.3, most))

    async def _again(self, host: Host) -> None:
        await host.start(*FLAGS)

    async def _submit(self, count: int) -> None:
        for _ in range(count):
            await self._submit_one()

    async def _submit_one(self) -> None:
        """Under one key until somebody has taken it for certain."""
        [(_, least, most)] = self._dice.choices(SIZES, [share for share, *_ in SIZES])
        name = f"file{len(self._sizes)}"
        size = self._sizes[name] = int(self._dice.uniform(least, most))
        options: dict[str, int] = {"rate": RATE} if size > 1_000_000 else {}
        body = {"url": self._origin.url(f"/bytes/{size}/{name}", **options), "out": name, "max_attempts": 100}
        task = await self._ask("POST", "/tasks", body, key=name, patient=True)
        assert task is not None
        self._ids[name] = task["id"]

    async def _ask(self, method: str, path: str, body: Any = None, *, key: str = "", patient: bool = False) -> Any:
        """What some node that is up answers; None if it refuses, unless `patient`: then they are asked until one does it."""
        deadline = time.monotonic() + 60
        while True:
            for host in self._dice.sample(self._lab.hosts, len(self._lab.hosts)):
                try:
                    async with (
                        host.session() as session,
                        session.request(
                            method, path, json=body, headers={"Idempotency-Key": key} if key else {},
                            timeout=aiohttp.ClientTimeout(12),
                        ) as answer,
                    ):  # fmt: skip
                        if answer.status < 300:
                            return await answer.json()
                        if answer.status == 409 and not key:
                            return None  # it does not fit any more
                except (aiohttp.ClientError, TimeoutError, OSError, Refused):
                    continue
            if not patient:
                return None
            if time.monotonic() > deadline:
                raise AssertionError(f"nobody took {method} {path} {body} for a minute")
            await asyncio.sleep(0.2)

    # -- the end ------------------------------------------------------------------------------------------------

    async def settle(self, within: float) -> list[dict[str, Any]]:
        """All mended: the tasks, once none has anything left to do."""
        await self._lab.heal()
        for host in await self._lab.look():
            if not host.facts.running:
                await self._again(host)
            await self._ask("POST", f"/nodes/{host.name}/undrain", patient=True)
        await self._lab.alive()
        deadline = time.monotonic() + within
        while True:
            listed = await self._all()
            open_ones = [task for task in listed if task["status"] not in FINAL]
            for task in open_ones:
                if task["status"] == "paused":
                    await self._ask("POST", f"/tasks/{task['id']}/resume", patient=True)
            if not open_ones and len(listed) == len(self._ids) and not litter(self._lab.hosts):
                return listed
            if time.monotonic() > deadline:
                return listed
            await asyncio.sleep(0.5)

    async def _all(self) -> list[dict[str, Any]]:
        """Every task, whoever takes the time to tell."""
        listed: list[dict[str, Any]] = []
        ids = list(self._ids.values())
        for start in range(0, len(ids), 200):
            wanted = ",".join(ids[start : start + 200])
            listed += await self._ask("GET", f"/tasks?limit=1000&fresh=true&ids={wanted}", patient=True)
        return listed

    def judge(self, listed: list[dict[str, Any]]) -> list[str]:
        """What is wrong, in sentences."""
        wrong = []
        by_id = {task["id"]: task for task in listed}
        for name, task_id in self._ids.items():
            task = by_id.get(task_id)
            if task is None:
                wrong.append(f"{name} ({task_id}) is lost")
                continue
            if task["status"] != "completed":
                wrong.append(f"{name} ({task_id}) is {task['status']} on {task['worker_name']}: {task['reason']}")
                continue
            holders = [host for host in self._lab.hosts if (host.downloads / name).exists()]
            if [host.name for host in holders] != [task["worker_name"]]:
                wrong.append(f"{name} is on {[h.name for h in holders]}, and should be on {task['worker_name']}")
                continue
            path = f"/bytes/{self._sizes[name]}/{name}"
            if _sha256(holders[0].downloads / name) != self._origin.sha256(path):
                wrong.append(f"{name} on {holders[0].name} is not what its origin has")
        for host in self._lab.hosts:
            extra = {p.name for p in host.downloads.iterdir()} - self._ids.keys() - {STAGING}
            wrong += [f"{host.name} has {name}, which nobody asked for" for name in sorted(extra)]
        wrong += [f"{path} is left" for path in litter(self._lab.hosts)]
        return wrong

    @property
    def wanted(self) -> int:
        """Bytes of all downloads."""
        return sum(self._sizes.values())


async def run(rounds: int, downloads: int, seed: int, say: Callable[[str], None], *, within: float = 120.0) -> Summary:
    """A LAN of five, `rounds` faults and `downloads` downloads, and the judgement."""
    summary = Summary(seed=seed, rounds=rounds, downloads=downloads)
    begun = time.monotonic()
    async with Lab(hosts=5) as lab:
        origin = await lab.origin()
        await asyncio.gather(*(host.start(*FLAGS) for host in lab.hosts))
        await lab.alive()
        await lab.one_cluster(within=20)
        chaos = Chaos(lab, origin, seed, say)
        await chaos.run(rounds, downloads)
        listed = await chaos.settle(within)
        summary.wrong = await asyncio.to_thread(chaos.judge, listed)
        summary.faults = dict(chaos.faults)
        summary.attempts = sum(task["attempt"] for task in listed)
        summary.fetched, summary.wanted = sum(origin.served.values()), chaos.wanted
        if summary.wrong:
            for host in lab.hosts:
                Path(f"/tmp/chaos-{seed}-{host.name}.log").write_text(await host.log_text())
    summary.seconds = time.monotonic() - begun
    return summary


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.lab.chaos", description=__doc__)
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--downloads", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()

    def say(what: str) -> None:
        sys.stderr.write(f"{time.strftime('%H:%M:%S')} {what}\n")

    summary = asyncio.run(run(asked.rounds, asked.downloads, asked.seed, say, within=300))
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(summary)).decode() + "\n")
    return 1 if summary.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
