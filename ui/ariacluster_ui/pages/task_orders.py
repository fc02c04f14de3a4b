"""What a person orders of one download: what needs more than a word is asked in a form."""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from ariacluster.domain.errors import InvalidInput
from ariacluster.wire.requests import TaskPatch
from ariacluster.wire.resources import TaskResource
from ariacluster_ui.presenters.task import VERBS
from ariacluster_ui.shell import Shell
from ariacluster_ui.widgets.ask import Ask, ask, choice, text
from ariacluster_ui.words import t

from .orders import One, Orders

PRIORITIES = ("low", "normal", "high", "urgent")


class TaskOrders(Orders):
    """The orders of one tab about the task that `current` answers."""

    def __init__(self, shell: Shell, current: Callable[[], TaskResource | None]) -> None:
        super().__init__(shell)
        self._current = current

    async def take(self, verb: str) -> None:
        task = self._current()
        form = {"move": self.move, "relink": self.relink, "edit": self.edit}.get(verb)
        if task is None or verb not in VERBS:
            return
        if form is not None:
            form(task)
        else:
            await self.order(verb, One(task))

    def move(self, task: TaskResource) -> Ask | None:
        nodes = [
            node
            for node in sorted(self._shell.store.nodes.values(), key=lambda node: node.name)
            if node.status in ("online", "busy") and not node.witness and node.id != task.worker_id
        ]
        if not nodes:
            self._shell.say(t("task.move.nobody"), tone="error")
            return None

        async def yes(values: dict[str, Any]) -> None:
            moving = self._shell.store.client.move(task.id, str(values.get("node")))
            await self._done(moving, t("task.move.done", name=task.name))

        options = [
            (node.id, node.name, t("task.move.free", used=node.used_slots, n=node.total_slots)) for node in nodes
        ]
        fields = [choice("node", t("task.move.to"), nodes[0].id, options)]
        return ask(t("task.move.title"), t("task.move.text"), action=t("task.do.move"), yes=yes, fields=fields)

    def relink(self, task: TaskResource) -> Ask:
        async def yes(values: dict[str, Any]) -> None:
            links = str(values.get("url", "")).split()
            if not links:
                raise InvalidInput(t("task.relink.none"), field="url")
            await self._done(self._shell.store.client.relink(task.id, links), t("task.relink.done", name=task.name))

        fields = [text("url", t("task.relink.url"), help=t("task.relink.help"), placeholder="https://…")]
        return ask(t("task.relink.title"), t("task.relink.text"), action=t("task.do.relink"), yes=yes, fields=fields)

    def edit(self, task: TaskResource) -> Ask:
        async def yes(values: dict[str, Any]) -> None:
            patch = patch_of(values, task)
            if patch != TaskPatch():
                await self._done(self._shell.store.client.edit(task.id, patch), t("task.edit.done", name=task.name))

        fields = [
            choice("priority", t("task.priority"), task.priority, [(one, t(f"priority.{one}"), "") for one in PRIORITIES]),
            text("tags", t("task.edit.tags"), tags_as_text(task.tags), help=t("task.edit.tags_help"), placeholder="gpu=yes"),
            text("node", t("task.edit.node"), task.node or "", help=t("task.edit.node_help")),
            text("dir", t("task.edit.dir"), task.dir, help=t("task.edit.dir_help")),
            text("max_attempts", t("task.edit.attempts"), str(task.max_attempts)),
        ]  # fmt: skip
        return ask(t("task.edit.title"), action=t("save"), yes=yes, fields=fields)

    async def _done(self, what: Awaitable[Any], said: str) -> None:
        await what
        self._shell.say(said, tone="ok")
        await self.changed()


def tags_as_text(tags: dict[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in sorted(tags.items()))


def tags_of(said: str, field: str) -> dict[str, str]:
    """`gpu=yes, place=attic` as tags; `InvalidInput` names the field."""
    tags = {}
    for part in filter(None, (part.strip() for part in said.replace("\n", ",").split(","))):
        key, equals, value = (half.strip() for half in part.partition("="))
        if not key or not equals:
            raise InvalidInput(t("tags.wrong", text=part), field=field)
        tags[key] = value
    return tags


def patch_of(values: dict[str, Any], task: TaskResource) -> TaskPatch:
    """What was changed in the fields. `InvalidInput` names the one that makes no sense."""
    changes: dict[str, Any] = {}
    if (priority := str(values.get("priority", task.priority))) != task.priority:
        changes["priority"] = priority
    tags = tags_of(str(values.get("tags", tags_as_text(task.tags))), "tags")
    if tags != task.tags:
        changes["tags"] = dict.fromkeys(task.tags) | tags
    if (node := str(values.get("node", task.node or "")).strip() or None) != task.node:
        changes["node"] = node
    if (folder := str(values.get("dir", task.dir)).strip()) != task.dir:
        changes["dir"] = folder
    attempts = str(values.get("max_attempts", task.max_attempts)).strip()
    if attempts != str(task.max_attempts):
        if not attempts.isdecimal():
            raise InvalidInput(t("settings.number_wrong", text=attempts), field="max_attempts")
        changes["max_attempts"] = int(attempts)
    return msgspec.convert(changes, TaskPatch)
