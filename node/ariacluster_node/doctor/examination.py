"""The order of the checks. Each has its time, and what goes wrong in one is its own finding: the others go on."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from ariacluster.domain.errors import AriaClusterError, StartFailed, Unavailable
from ariacluster.domain.member import at
from ariacluster_node import config
from ariacluster_node.config import ENVIRONMENT, NOT_SETTINGS, Settings

from . import cluster, engine, folders, lan, multicast, nodes, ports
from .door import Answer, Doors, MemberSaid
from .finding import Finding, ok, problem, skipped, warning
from .folders import Data, Downloads, Place
from .multicast import Hearing
from .nodes import Visit

T = TypeVar("T")

SETTINGS = "settings"

CHECK_S = 4.0
"""For one check. Listening takes 3 s, and the nodes that were heard are visited after that: 8 s at the most."""

_ANYWHERE = {"::": "127.0.0.1", "0.0.0.0": "127.0.0.1"}


def load(
    flags: Mapping[str, Any], file: Path | None, environment: Mapping[str, str] = os.environ
) -> tuple[Settings, Finding]:
    """The settings of a node, and what is wrong with them; then it goes on with what the command line says, or defaults."""
    given = file or environment.get(f"{ENVIRONMENT}CONFIG")
    variables = [
        v for v in environment if v.startswith(ENVIRONMENT) and v.removeprefix(ENVIRONMENT) not in NOT_SETTINGS
    ]
    sources = [f"the config file {given}"] if given else []
    sources += [f"the environment ({', '.join(sorted(variables))})"] if variables else []
    sources += ["the command line"] if any(value is not None for value in flags.values()) else []
    try:
        settings = config.load(flags, environment, file)
    except StartFailed as error:
        do = "Correct that first: a node does not start with it. What follows is with the defaults in its place."
        try:
            return config.load(flags, {}), problem(SETTINGS, error.detail, do)
        except StartFailed:
            return Settings(), problem(SETTINGS, error.detail, do)
    origin = f"from {', '.join(sources)}" if sources else "all of them defaults"
    said = (
        f"Cluster {settings.cluster!r}, API at port {settings.port}, downloads in {settings.download_folder}; {origin}."
    )
    return settings, ok(SETTINGS, said)


class Examination:
    """One look at this machine. `hung` is set once a check did not end in its time: a thread may still hang in it."""

    def __init__(self, flags: Mapping[str, Any], file: Path | None) -> None:
        self.settings, self._first = load(flags, file)
        self.hung = False
        self._failures: list[Finding] = []

    async def findings(self, listening: Callable[[str], None] = lambda what: None) -> AsyncIterator[Finding]:
        """One after another, as they come; `listening` is told what is being waited for."""
        settings = self.settings
        yield self._first
        local = _ANYWHERE.get(settings.bind, settings.bind)
        door = at(local, settings.port)
        async with Doors() as doors:
            here = self._begin(self._tried(ports.CHECK, _here(doors, door), None))
            data_looked = self._begin(
                self._tried(
                    folders.DATA,
                    folders.look_at_data(settings.data_folder),
                    Data(place=Place(folder=settings.data_folder)),
                )
            )
            rooms = self._begin(self._rooms())
            had = self._begin(self._tried(ports.CHECK, ports.look(settings), []))
            hearing_looked = self._begin(self._hear())

            listening("Looking at this machine")
            data = await data_looked
            for finding in self._judged(folders.DATA, lambda: folders.judge_data(data, settings.cluster)):
                yield finding
            for finding in await rooms:
                yield finding
            answer, both = await here, await had
            node_here = answer.status.node.id if answer else None
            if both:
                for finding in self._judged(ports.CHECK, lambda: ports.judge(both, data, node_here)):
                    yield finding

            if hearing_looked.done() is False and settings.mdns:
                listening("Listening for other nodes")
            hearing = await hearing_looked
            own_id = node_here or data.node_id
            if settings.mdns:
                for finding in self._judged(
                    lan.CHECK, lambda: _judge_lan(hearing, settings, own_id, answer is not None)
                ):
                    yield finding
            else:
                yield skipped(lan.CHECK, "Not looked at: multicast is switched off here, nodes are found by --join.")

            listening("Asking the other nodes")
            members: list[MemberSaid] = []
            if answer:
                members = await self._tried(nodes.CHECK, doors.members(door), [])
            heard = [h for h in lan.heard(hearing.signs, own_id) if h.cluster_name == settings.cluster]
            known = nodes.known(own_id, heard, members, data.membership, settings.join)
            visits: list[Visit] = []
            if known:
                visits = await self._tried(nodes.CHECK, nodes.visit(doors, known), [])
            for finding in self._judged(nodes.CHECK, lambda: _judge_nodes(visits, hearing, answer, own_id)):
                yield finding
            if answer is not None:
                said = answer.status
                for finding in self._judged(cluster.CHECK, lambda: cluster.judge(said)):
                    yield finding
            else:
                yield skipped(cluster.CHECK, f"Not looked at: no node answers at {door}.")
        for finding in self._failures:
            yield finding

    async def _hear(self) -> Hearing:
        if not self.settings.mdns:
            return Hearing()
        return await self._tried(lan.CHECK, multicast.listen(self.settings.bind), Hearing())

    async def _rooms(self) -> list[Finding]:
        settings = self.settings
        if settings.witness:
            return [
                skipped(check, "Not needed: a witness downloads nothing.")
                for check in (folders.DOWNLOADS, engine.CHECK)
            ]
        downloads, program = await asyncio.gather(
            self._tried(folders.DOWNLOADS, folders.look_at_downloads(settings.download_folder), None),
            self._tried(engine.CHECK, engine.look(settings.engine), None),
        )
        found: list[Finding] = []
        if isinstance(downloads, Downloads):
            found += self._judged(folders.DOWNLOADS, lambda: folders.judge_downloads(downloads))
        if isinstance(program, engine.Engine):
            found += self._judged(engine.CHECK, lambda: engine.judge(program))
        return found

    async def _tried(self, check: str, look: Awaitable[T], otherwise: T) -> T:
        """What was found, or `otherwise` and a finding that says why."""
        try:
            async with asyncio.timeout(CHECK_S):
                return await look
        except TimeoutError:
            self.hung = True
            self._failures.append(
                warning(check, f"This did not end within {CHECK_S:.0f} s.", "Does a disk or a network share hang?")
            )
        except Exception as error:  # whatever it is, the other checks are worth having
            self._failures.append(_failed(check, error))
        return otherwise

    def _judged(self, check: str, judge: Callable[[], list[Finding]]) -> list[Finding]:
        try:
            return judge()
        except Exception as error:
            return [_failed(check, error)]

    def _begin(self, work: Any) -> "asyncio.Task[Any]":
        return asyncio.create_task(work)


def _failed(check: str, error: Exception) -> Finding:
    what = error.detail if isinstance(error, AriaClusterError) else f"{type(error).__name__}: {error}"
    return warning(check, f"This could not be looked at ({what}).", "Please report it; the other findings stand.")


async def _here(doors: Doors, door: str) -> Answer | None:
    try:
        return await doors.status(door)
    except Unavailable:
        return None


def _judge_lan(hearing: Hearing, settings: Settings, own_id: str, runs_here: bool) -> list[Finding]:
    own_addresses = {str(i.ip) for i in hearing.here}
    return [
        *lan.judge_interfaces(hearing),
        *lan.judge_heard(hearing, settings.cluster, own_id),
        *lan.judge_ids(hearing.signs, own_id, own_addresses, runs_here),
    ]


def _judge_nodes(visits: list[Visit], hearing: Hearing, here: Answer | None, own_id: str) -> list[Finding]:
    answers = {v.name: v.answer for v in visits if v.answer and v.answer.status.node.id != own_id}
    reached = [
        (v.answer.status.node.id, v.name, v.node.door.rpartition(":")[0].strip("[]")) for v in visits if v.answer
    ]
    return [
        *lan.judge_both_ways(hearing, reached),
        *nodes.judge_reach(visits),
        *nodes.judge_versions(
            {name: a.status.version for name, a in answers.items()}, here.status.version if here else None
        ),
        *nodes.judge_clocks({name: a.ahead for name, a in answers.items() if a.ahead is not None}),
    ]
