"""The stage of the transcripts: a table, a dispatcher, nodes in miniature and a clock that only `wait` moves.

A line of a transcript is one call of `Stage.play`; what it answers are the lines below it. README.md lists the words.
"""

import re
from collections.abc import Callable, Iterator

import msgspec

from ariacluster.domain import intake
from ariacluster.domain.commands import (
    Cancel,
    Command,
    Complete,
    Configure,
    Drain,
    Edit,
    Fail,
    Measure,
    Move,
    Pause,
    Proposal,
    Refusal,
    Register,
    Relink,
    Remove,
    Resume,
    Retry,
    Start,
    Submit,
    Took,
    Tune,
    Undrain,
    Unregister,
)
from ariacluster.domain.errors import InvalidInput
from ariacluster.domain.member import Member, NodeView, Progress, Report, Tuning
from ariacluster.domain.origins import origins_of
from ariacluster.domain.placement import explain, span
from ariacluster.domain.policy import Strategy
from ariacluster.domain.reconcile import Discard, Failed
from ariacluster.domain.scheduler import candidates, decide, held_back
from ariacluster.domain.table import TaskTable
from ariacluster.domain.task import Priority, mark_of
from ariacluster.wire.history import sentence
from tests.support.invariants import Witness
from tests.support.node_model import NodeModel, result_of

from .telling import Named, Words, answer, download, holds, pairs, parse, size, stand, step, time, told

NODE_TIMEOUT = 20.0
OFFLINE_AFTER = 5.0

WORDS_OF_PEOPLE: dict[str, type[Pause | Resume | Retry | Cancel | Remove]] = {
    "pause": Pause,
    "resume": Resume,
    "retry": Retry,
    "cancel": Cancel,
    "remove": Remove,
}


class Stage:
    """One cluster from its first moment. Every proposal goes through a `Witness`, so transcripts check the invariants too."""

    def __init__(self) -> None:
        self.table = TaskTable()
        self._witness = Witness(self.table)
        self._now = 1_000_000
        self._nodes: dict[str, NodeModel] = {}
        self._reports: dict[str, Report] = {}
        self._heard: dict[str, int] = {}
        self._silent: set[str] = set()
        self._proposals = 0

    def play(self, line: str) -> list[str]:
        """What `line` (without its `> `) shows."""
        words, named = parse(line)
        verb = words.pop(0)
        if verb.endswith(":"):
            return list(self._node_does(self._nodes[verb[:-1]], words, named))
        if verb in WORDS_OF_PEOPLE:
            return self._say(WORDS_OF_PEOPLE[verb](words[0]))
        doing: Callable[[Words, Named], list[str]] = getattr(self, f"_{verb.replace('-', '_')}")
        return doing(words, named)

    # -- the cluster ----------------------------------------------------------------------------------------------

    def _node(self, words: Words, named: Named) -> list[str]:
        name = words[0]
        address = f"192.0.2.{len(self._nodes) + 1}"
        tags = pairs(named.get("tags", ""))
        slots = int(named.get("slots", "2"))
        member = Member(id=name, name=name, address=address, port=8000, raft=f"{address}:8002", slots=slots, tags=tags)
        self._nodes.setdefault(name, NodeModel(name, self.table))
        self._hear([name], {})
        return self._say(Register(member)) + self._report(words, {"disk": "100GB", **named})

    def _report(self, words: Words, named: Named) -> list[str]:
        known = self._reports.get(words[0], Report(node=words[0]))
        read: dict[str, object] = {"trouble": named.get("trouble", ""), "pressed": "pressed" in words}
        for name, field in (("disk", "disk_free"), ("speed", "peak_speed")):
            if name in named:
                read[field] = size(named[name])
        for name in ("pace", "cpu"):
            if name in named:
                read[name] = float(named[name])
        if "doing" in named:
            read["tasks"] = dict(map(self._progress, named["doing"].split(",")))
        self._reports[words[0]] = msgspec.structs.replace(known, **read)
        return []

    def _progress(self, text: str) -> tuple[str, Progress]:
        """`ID:600MB/700MB@10MB`: so much of so much, at so much a second."""
        task, _, rest = text.partition(":")
        done, total, speed = map(size, re.split("[/@]", rest))
        return task, Progress(attempt=self.table.tasks[task].attempt, completed=done, total=total, speed=speed)

    def _policy(self, words: Words, named: Named) -> list[str]:
        read: dict[str, object] = {}
        if "strategy" in named:
            read["strategy"] = Strategy(named["strategy"])
        if "connections" in named:
            read["origin_connections"] = int(named["connections"])
        if "limits" in named:
            read["origin_limits"] = {host: int(limit) for host, limit in pairs(named["limits"]).items()}
        if "min_free" in named:
            read["min_free"] = size(named["min_free"])
        return self._say(Configure(msgspec.structs.replace(self.table.policy, **read)))

    def _drain(self, words: Words, named: Named) -> list[str]:
        return self._say(Drain(words[0], self._now + time(named.get("for", "0s"))))

    def _undrain(self, words: Words, named: Named) -> list[str]:
        return self._say(Undrain(words[0]))

    def _tune(self, words: Words, named: Named) -> list[str]:
        return self._say(Tune(words[0], Tuning(slots=int(named["slots"]))))

    def _origins(self, words: Words, named: Named) -> list[str]:
        """Who is left alone, and how many connections all nodes together may have open to whom."""
        told = [
            f"{origin}: left alone for {span(hold.until - self._now)}, asked {hold.strikes} times"
            for origin, hold in sorted(self.table.origins.items())
            if hold.until > self._now
        ]
        used = sorted({origin for row in self.table.tasks.values() for origin in origins_of(row.spec)})
        told += [f"{origin}: {n} connections" for origin in used if (n := self.table.connections_to(origin))]
        return told or ["nobody is asked"]

    def _take_off(self, words: Words, named: Named) -> list[str]:
        return self._say(Unregister(words[0]))

    def _silence(self, words: Words, named: Named) -> list[str]:
        self._silent.update(words)
        return []

    def _hear(self, words: Words, named: Named) -> list[str]:
        self._silent.difference_update(words)
        self._heard.update(dict.fromkeys(words, self._now))
        return []

    def _new_leader(self, words: Words, named: Named) -> list[str]:
        """It has heard nobody yet, except who speaks at once."""
        self._heard = {name: self._now for name in self._nodes if name not in self._silent}
        return []

    def _wait(self, words: Words, named: Named) -> list[str]:
        self._now += time(words[0])
        self._heard.update({name: self._now for name in self._heard if name not in self._silent})
        return []

    def _views(self) -> list[NodeView]:
        return [self._view(member) for member in self.table.members.values()]

    def _view(self, member: Member) -> NodeView:
        heard = self._heard.get(member.id)
        silent = None if heard is None else (self._now - heard) / 1000
        online = silent is not None and silent < OFFLINE_AFTER
        report = self._reports.get(member.id) if heard is not None else None
        return NodeView(member=member, report=report, silent_for=silent, online=online)

    # -- people ---------------------------------------------------------------------------------------------------

    def _submit(self, words: Words, named: Named) -> list[str]:
        task = words[0]
        try:
            spec = intake.check(
                urls=named.get("url", f"http://origin.example/{task}").split(","),
                out=named.get("out"),
                dir=named.get("dir", ""),
                options=pairs(named.get("options", "")),
                headers=[named["header"]] if "header" in named else [],
                checksum=named.get("checksum"),
                priority=named.get("priority", "normal"),
                tags=pairs(named.get("tags", "")),
                prefer_tags=pairs(named.get("prefer", "")),
                node=named.get("node"),
                max_attempts=int(named.get("max_attempts", "5")),
                not_before=self._now + time(named["in"]) if "in" in named else 0,
                now=self._now,
            )
        except InvalidInput as error:
            return [f"refused ({error.code}, {error.field}): {error.detail}"]
        asking = time(named.get("asking", "0s"))
        told = self._say(Submit(task, spec, asking, paused="paused" in words, unique="unique" in words))
        return told + (self._size([task], named) if "size" in named else [])

    def _size(self, words: Words, named: Named) -> list[str]:
        """The origin told how large it is."""
        return self._say(Measure(words[0], size(named["size"]), named.get("etag", "")))

    def _relink(self, words: Words, named: Named) -> list[str]:
        row = self.table.tasks[words[0]]
        headers = [named["header"]] if "header" in named else None
        try:
            links = intake.check_links(named["url"].split(","), headers, row.spec)
        except InvalidInput as error:
            return [f"refused ({error.code}, {error.field}): {error.detail}"]
        return self._say(Relink(row.id, *links))

    def _edit(self, words: Words, named: Named) -> list[str]:
        """Somebody asks something else of it: `priority`, `options`, `node`, `out` or `tags`."""
        row = self.table.tasks[words[0]]
        given: dict[str, object] = {name: named[name] for name in ("node", "out") if name in named}
        given |= {name: pairs(named[name]) for name in ("options", "tags") if name in named}
        if "priority" in named:
            given["priority"] = Priority[named["priority"].upper()]
        return self._say(Edit(row.id, msgspec.structs.replace(row.spec, **given), mark_of(row.spec)))

    def _history(self, words: Words, named: Named) -> list[str]:
        """The last so many entries."""
        return [sentence(entry) for entry in list(self.table.history.entries)[-int(words[0]) :]]

    def _move(self, words: Words, named: Named) -> list[str]:
        row = self.table.tasks[words[0]]
        reason = f"{words[1]}: somebody wanted it here"
        return self._say(Move(row.id, row.attempt + 1, words[1], reason, row.connections, fetch="empty" not in words))

    def _why(self, words: Words, named: Named) -> list[str]:
        row = self.table.tasks[words[0]]
        held = held_back(self.table, row, self._now)
        return [explain(row, candidates(self.table, self._views()), self._now, held=held)]

    def _story(self, words: Words, named: Named) -> list[str]:
        row = self.table.tasks[words[0]]
        return [f"attempt {f.attempt} on {f.node} ({f.kind}): {f.message}" for f in row.failures] or ["no failures"]

    def _tasks(self, words: Words, named: Named) -> list[str]:
        rows = [self.table.tasks[task_id] for task_id in self.table.order.values()]
        return [f"{row.id}: {stand(row)}" for row in rows] or ["no tasks"]

    def _again(self, words: Words, named: Named) -> list[str]:
        """The last proposal arrives a second time."""
        applied = self._witness.apply(self._witness.log[-1])
        return [*map(answer, applied.outcomes), *told(applied.changes, self._now)] or ["nothing changed"]

    def _dispatch(self, words: Words, named: Named) -> list[str]:
        told: list[str] = []
        while commands := decide(self.table, self._views(), self._now, node_timeout=NODE_TIMEOUT):
            told += self._say(*commands)
        return told or ["nothing to decide"]

    # -- a node ---------------------------------------------------------------------------------------------------

    def _node_does(self, node: NodeModel, words: Words, named: Named) -> Iterator[str]:
        match words:
            case ["work"]:
                yield from self._work(node, named.get("crash-after"))
            case ["work", "unheard"]:
                yield from self._work(node, None, unheard=True)
            case ["engine", "dies"]:
                node.engine_dies()
            case ["bytes", task]:
                node.transfer_ends(task)
            case ["engine", task, status]:
                node.engine_says(task, download(task, status, named))
            case ["has"]:
                yield from holds(node)
            case ["tell", what, task]:
                assert "attempt" in named or self.table.tasks[task].node == node.id, f"{task} is not at {node.id}"
                for _ in range(int(named.get("times", "1")) - 1):
                    self._say(self._news(what, task, named))
                    self._wait(["450s"], {})
                    self._dispatch([], {})
                yield from self._say(self._news(what, task, named))

    def _news(self, what: str, task: str, named: Named) -> Command:
        """What a node that is not modelled any further says of its attempt (`attempt=`, by default the present one)."""
        row = self.table.tasks[task]
        attempt = int(named.get("attempt", row.attempt))
        match what:
            case "began":
                return Start(task, attempt, size(named.get("size", "0MB")))
            case "took":
                return Took(task, attempt)
            case "complete":
                return Complete(task, attempt, result_of(row, size(named.get("size", "700MB"))))
        model = NodeModel("", self.table)
        fail = model.perform(Failed(row, download(task, "error", named)), dice=float(named.get("dice", "0.5")))
        assert isinstance(fail, Fail)
        retry_after = time(named.get("retry-after", "0s"))
        return Fail(task, attempt, fail.kind, fail.code, fail.message, fail.dice, retry_after)

    def _work(self, node: NodeModel, crash_after: str | None, *, unheard: bool = False) -> Iterator[str]:
        """Plans until one is empty. A crash comes before the table has heard of that plan, and takes the engine along.
        `unheard`: one plan, and the network does not let its news through."""
        idle = True
        self._hold(node)
        while actions := node.plan():
            idle = False
            news: list[Command] = []
            emptied: set[str] = set()
            for action in actions:
                yield f"plan: {step(action, node, emptied)}"
                if isinstance(action, Discard):
                    emptied.add(action.task_id)
                if (told := node.perform(action)) is not None:
                    news.append(told)
                if crash_after == type(action).__name__.lower():
                    node.engine_dies()
                    yield "it crashes"
                    return
            if unheard:
                yield "nobody hears of it"
                return
            if news:
                yield from self._say(*news)
        if idle:
            yield "plan: nothing to do"

    def _hold(self, node: NodeModel) -> None:
        """Tasks whose origin is to be left alone, by what its copy of the table says."""
        held = {origin for origin, hold in self.table.origins.items() if hold.until > self._now}
        node.held = {row.id for row in self.table.assigned_to(node.id) if held.intersection(origins_of(row.spec))}

    def _say(self, *commands: Command) -> list[str]:
        """Propose; outcomes that are refusals, then the rows that changed."""
        self._proposals += 1
        proposal = Proposal(id=str(self._proposals), at=self._now, by="stage", commands=commands)
        applied = self._witness.apply(proposal)
        for node in self._nodes.values():
            node.note_accepted()
        refused = [answer(outcome) for outcome in applied.outcomes if isinstance(outcome, Refusal)]
        return refused + told(applied.changes, self._now)
