"""The stage of the transcripts: a table, a dispatcher, nodes in miniature and a clock that only `wait` moves.

A line of a transcript is one call of `Stage.play`; what it answers are the lines below it. README.md lists the words.
"""

import re
import shlex
from collections.abc import Callable, Iterator

from ariacluster.domain import intake
from ariacluster.domain.commands import (
    Cancel,
    Command,
    Complete,
    Fail,
    Pause,
    Proposal,
    Refusal,
    Register,
    Remove,
    Resume,
    Retry,
    Start,
    Submit,
    Unregister,
)
from ariacluster.domain.errors import InvalidInput
from ariacluster.domain.member import Member, NodeView, Report
from ariacluster.domain.placement import explain, human
from ariacluster.domain.reconcile import (
    Action,
    Add,
    Began,
    Discard,
    Download,
    Drop,
    Failed,
    Finished,
    Publish,
)
from ariacluster.domain.scheduler import candidates, decide
from ariacluster.domain.table import Change, TaskTable
from ariacluster.domain.task import Task, TaskState
from tests.support.invariants import Witness
from tests.support.node_model import NodeModel, result_of

NODE_TIMEOUT = 20.0
OFFLINE_AFTER = 5.0
SIZES = {"MB": 10**6, "GB": 10**9, "TB": 10**12}

Words = list[str]
Named = dict[str, str]
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
        words, named = _parse(line)
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
        tags = _pairs(named.get("tags", ""))
        slots = int(named.get("slots", "2"))
        member = Member(id=name, name=name, address=address, port=8000, raft=f"{address}:8002", slots=slots, tags=tags)
        self._nodes.setdefault(name, NodeModel(name, self.table))
        self._hear([name], {})
        return self._say(Register(member)) + self._report(words, {"disk": "100GB", **named})

    def _report(self, words: Words, named: Named) -> list[str]:
        known = self._reports.get(words[0])
        disk = _size(named["disk"]) if "disk" in named else known.disk_free if known else 0
        self._reports[words[0]] = Report(node=words[0], disk_free=disk, trouble=named.get("trouble", ""))
        return []

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
        self._now += int(float(words[0].removesuffix("s")) * 1000)
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
                options=_pairs(named.get("options", "")),
                headers=[named["header"]] if "header" in named else [],
                checksum=named.get("checksum"),
                priority=named.get("priority", "normal"),
                tags=_pairs(named.get("tags", "")),
                prefer_tags=_pairs(named.get("prefer", "")),
                node=named.get("node"),
                max_attempts=int(named.get("max_attempts", "5")),
            )
        except InvalidInput as error:
            return [f"refused ({error.code}, {error.field}): {error.detail}"]
        return self._say(Submit(task, spec))

    def _why(self, words: Words, named: Named) -> list[str]:
        return [explain(self.table.tasks[words[0]], candidates(self.table, self._views()), self._now)]

    def _tasks(self, words: Words, named: Named) -> list[str]:
        rows = [self.table.tasks[task_id] for task_id in self.table.order.values()]
        return [f"{row.id}: {_stand(row)}" for row in rows] or ["no tasks"]

    def _again(self, words: Words, named: Named) -> list[str]:
        """The last proposal arrives a second time."""
        applied = self._witness.apply(self._witness.log[-1])
        return [*map(_outcome, applied.outcomes), *_told(applied.changes, self._now)] or ["nothing changed"]

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
            case ["engine", task, status]:
                node.engine_says(task, _download(task, status, named))
            case ["has"]:
                yield from _holds(node)
            case ["tell", what, task]:
                assert "attempt" in named or self.table.tasks[task].node == node.id, f"{task} is not at {node.id}"
                for _ in range(int(named.get("times", "1")) - 1):
                    self._say(self._news(what, task, named))
                    self._wait(["300s"], {})
                    self._dispatch([], {})
                yield from self._say(self._news(what, task, named))

    def _news(self, what: str, task: str, named: Named) -> Command:
        """What a node that is not modelled any further says of its attempt (`attempt=`, by default the present one)."""
        row = self.table.tasks[task]
        attempt = int(named.get("attempt", row.attempt))
        match what:
            case "began":
                return Start(task, attempt)
            case "complete":
                return Complete(task, attempt, result_of(row, _size(named.get("size", "700MB"))))
        model = NodeModel("", self.table)
        fail = model.perform(Failed(row, _download(task, "error", named)), dice=float(named.get("dice", "0.5")))
        assert isinstance(fail, Fail)
        return Fail(task, attempt, fail.kind, fail.code, fail.message, fail.dice)

    def _work(self, node: NodeModel, crash_after: str | None, *, unheard: bool = False) -> Iterator[str]:
        """Plans until one is empty. A crash comes before the table has heard of that plan, and takes the engine along.
        `unheard`: one plan, and the network does not let its news through."""
        idle = True
        while actions := node.plan():
            idle = False
            news: list[Command] = []
            for action in actions:
                yield f"plan: {_name(action, node)}"
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

    def _say(self, *commands: Command) -> list[str]:
        """Propose; outcomes that are refusals, then the rows that changed."""
        self._proposals += 1
        proposal = Proposal(id=str(self._proposals), at=self._now, by="stage", commands=commands)
        applied = self._witness.apply(proposal)
        for node in self._nodes.values():
            node.note_accepted()
        refused = [_outcome(outcome) for outcome in applied.outcomes if isinstance(outcome, Refusal)]
        return refused + _told(applied.changes, self._now)


# -- reading a line -----------------------------------------------------------------------------------------------


def _parse(line: str) -> tuple[Words, Named]:
    words, named = [], {}
    for part in shlex.split(line):
        if match := re.fullmatch(r"([a-z_-]+)=(.*)", part):
            named[match[1]] = match[2]
        else:
            words.append(part)
    return words, named


def _pairs(text: str) -> dict[str, str]:
    return dict(pair.split("=", 1) for pair in text.split(",")) if text else {}


def _size(text: str) -> int:
    return int(float(text[:-2]) * SIZES[text[-2:]])


def _download(task: str, status: str, named: Named) -> Download:
    return Download(
        gid=task,
        status=status,
        completed=_size(named.get("size", "700MB")),
        error_code=int(named.get("code", "0")),
        error_message=named.get("message", ""),
    )


# -- telling what happened ----------------------------------------------------------------------------------------


def _outcome(outcome: Refusal | None) -> str:
    return f"refused ({outcome.code}): {outcome.detail}" if outcome else "ok"


def _told(changes: tuple[Change, ...], now: int) -> list[str]:
    return [_change(change, now) for change in changes]


def _change(change: Change, now: int) -> str:
    before, after = change
    if after is None:
        assert before is not None
        return f"{before.id}: {before.state} → gone"
    step = f"{before.state} → {_stand(after)}" if before else _stand(after)
    if after.not_before > now:
        step += f", next try in {(after.not_before - now) / 1000:g} s"
    if after.reason and (before is None or before.reason != after.reason):
        step += f" — {after.reason}"
    return f"{after.id}: {step}"


def _stand(row: Task) -> str:
    if row.assigned_to:
        return f"{row.state} on {row.node}, attempt {row.attempt}"
    if row.state is TaskState.COMPLETED and row.result:
        files = ", ".join(entry.path for entry in row.result.files)
        return f"{row.state} on {row.node}, {human(row.result.total_bytes)}: {files}"
    return str(row.state)


def _name(action: Action, node: NodeModel) -> str:
    match action:
        case Add(task, fresh):
            there = task.id in node.staged
            how = "from scratch" if fresh else "go on with what is there" if there else "first bytes here"
            return f"add {task.id} to the engine, {how}"
        case Drop(gid):
            return f"drop {gid} from the engine"
        case Began(task):
            return f"tell that {task.id} began"
        case Publish(task):
            return f"publish {task.id}"
        case Finished(task, receipt):
            return f"tell that {task.id} is complete, by the receipt of attempt {receipt.attempt}"
        case Failed(task, download):
            return f"tell that {task.id} failed with aria2's code {download.error_code}"
        case Discard(task_id, published):
            return f"discard the folder of {task_id}{', and what it published' if published else ''}"


def _holds(node: NodeModel) -> Iterator[str]:
    yield f"engine: {', '.join(f'{gid} ({d.status})' for gid, d in sorted(node.downloads.items())) or 'empty'}"
    folders = (
        f"{task} (receipt of attempt {f.receipt.attempt})" if f.receipt else task for task, f in node.staged.items()
    )
    yield f"folders: {', '.join(folders) or 'none'}"
    yield f"published: {', '.join(sorted(node.published)) or 'nothing'}"
