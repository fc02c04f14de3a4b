"""What a person orders of downloads, of one or of many: asked first where it is final, said to the node, told, taken back
where that is possible."""

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, Protocol, Self

from ariacluster.wire.requests import TaskFilter
from ariacluster.wire.resources import TaskResource
from ariacluster_ui.live import Store
from ariacluster_ui.presenters.task import VERBS
from ariacluster_ui.presenters.tasks import refusals_of
from ariacluster_ui.shell import Shell, Undo
from ariacluster_ui.widgets.ask import Ask, ask
from ariacluster_ui.words import t

AT_ONCE = 5000
"""Ids in one request: 100 kB of the megabyte that a node takes."""


class Answer(NamedTuple):
    """Who was changed, how many were not, and why not."""

    done: "Whom | None"
    refused: int = 0
    why: str = ""


class Question(NamedTuple):
    heading: str
    text: str
    action: str
    refusal: str


class Whom(Protocol):
    """To whom something is said, and in which words that is told."""

    async def hear(self, store: Store, verb: str) -> Answer: ...
    def done(self, verb: str) -> str: ...
    def question(self, verb: str) -> Question: ...


class One(NamedTuple):
    """One download, by its name."""

    task: TaskResource

    async def hear(self, store: Store, verb: str) -> Answer:
        if verb == "remove":
            await store.client.remove(self.task.id)
        else:
            await store.client.say(self.task.id, verb)
        return Answer(self)

    def done(self, verb: str) -> str:
        return t(f"task.done.{verb}", name=self.task.name)

    def question(self, verb: str) -> Question:
        text = "text_done" if verb == "remove" and self.task.status == "completed" else "text"
        return Question(
            t(f"task.ask.{verb}"), t(f"task.ask.{verb}.{text}"), t(f"task.ask.{verb}.yes"), t("task.ask.no")
        )


class Many(NamedTuple):
    """Those that fit the filters, by their number. `everything`: of a view, on all its pages."""

    matching: Sequence[TaskFilter]
    number: int
    everything: bool = False

    @classmethod
    def of(cls, ids: Sequence[str]) -> Self:
        return cls([TaskFilter(ids=list(ids[at : at + AT_ONCE])) for at in range(0, len(ids), AT_ONCE)], len(ids))

    async def hear(self, store: Store, verb: str) -> Answer:
        done: list[str] = []
        refused, why = 0, ""
        for part in self.matching:
            result = await store.client.say_to_all(verb, part)
            done += result.done
            refused += result.refused_count
            why = why or refusals_of(result)
        return Answer(Many.of(done) if done else None, refused, why)

    def done(self, verb: str) -> str:
        return t(f"tasks.done.{verb}", n=self.number)

    def question(self, verb: str) -> Question:
        key, n = f"tasks.ask.{verb}", self.number
        text = t(f"{key}.{'all' if self.everything else 'some'}", n=n)
        return Question(t(key, n=n), text, t(f"{key}.yes", n=n), t("tasks.ask.no", n=n))


class Orders:
    """The orders of one tab. `changed` is awaited when something may be another than before."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self.changed: Callable[[], Awaitable[None]] = _nothing

    async def order(self, verb: str, whom: Whom) -> None:
        """Ask, if nothing takes it back; else do it."""
        if VERBS[verb].final:
            self.ask(verb, whom)
            return
        with self._shell.telling():
            await self.say(verb, whom)
        await self.changed()

    def ask(self, verb: str, whom: Whom) -> Ask:
        async def yes(_: object) -> None:
            await self.say(verb, whom)
            await self.changed()

        asked = whom.question(verb)
        with self._shell.client.content:
            return ask(asked.heading, asked.text, action=asked.action, refusal=asked.refusal, yes=yes, danger=True)

    async def say(self, verb: str, whom: Whom) -> None:
        """Done and told. Raises what the node refuses as a whole."""
        answer = await whom.hear(self._shell.store, verb)
        if answer.done is not None:
            back = VERBS[verb].back
            self._shell.say(answer.done.done(verb), undo=self._undo(back, answer.done) if back else None)
        elif not answer.refused:
            self._shell.say(t(f"tasks.nothing.{verb}"))
        self.tell_refused(answer)

    def tell_refused(self, answer: Answer) -> None:
        if answer.refused:
            self._shell.say(t("tasks.refused", n=answer.refused, why=answer.why), tone="error")

    def _undo(self, verb: str, whom: Whom) -> Undo:
        async def back() -> None:
            self.tell_refused(await whom.hear(self._shell.store, verb))
            await self.changed()

        return back


async def _nothing() -> None:
    return None
