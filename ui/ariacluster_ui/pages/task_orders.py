"""What a person may order of one download: asked for where it matters, done, told."""

from collections.abc import Callable
from typing import Any

import msgspec
from nicegui import ui

from ariacluster.domain.errors import InvalidInput
from ariacluster.wire.requests import TaskPatch
from ariacluster.wire.resources import TaskResource
from ariacluster_ui.shell import Shell
from ariacluster_ui.widgets.ask import Ask, ask, choice, text
from ariacluster_ui.words import t

PRIORITIES = ("low", "normal", "high", "urgent")
BACK = {"pause": "resume", "resume": "pause"}
"""What takes an order back."""


class TaskOrders:
    """The orders of one tab about the task that `current` answers."""

    def __init__(self, shell: Shell, current: Callable[[], TaskResource | None]) -> None:
        self._shell = shell
        self._current = current

    async def take(self, event: Any) -> None:
        await self.take_verb(event.args.get("verb"))

    async def take_verb(self, verb: str | None) -> None:
        task = self._current()
        if task is None:
            return
        match verb:
            case "pause" | "resume" | "retry":
                await self.say(task, verb)
            case "cancel":
                self.cancel(task)
            case "move":
                self.move(task)
            case "relink":
                self.relink(task)
            case "edit":
                self.edit(task)
            case "remove":
                self.remove(task)

    async def say(self, task: TaskResource, verb: str) -> None:
        client = self._shell.store.client

        async def back() -> None:
            await client.say(task.id, BACK[verb])

        with self._shell.telling():
            await client.say(task.id, verb)
            self._shell.say(t(f"task.done.{verb}", name=task.name), undo=back if verb in BACK else None)

    def cancel(self, task: TaskResource) -> Ask:
        async def yes(_: dict[str, Any]) -> None:
            await self._shell.store.client.cancel(task.id)
            self._shell.say(t("task.done.cancel", name=task.name))

        return ask(t("task.cancel.title"), t("task.cancel.text"), action=t("task.cancel.yes"), yes=yes, danger=True)

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
            await self._shell.store.client.move(task.id, str(values.get("node")))
            self._shell.say(t("task.move.done", name=task.name), tone="ok")

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
            await self._shell.store.client.relink(task.id, links)
            self._shell.say(t("task.relink.done", name=task.name), tone="ok")

        fields = [text("url", t("task.relink.url"), help=t("task.relink.help"), placeholder="https://…")]
        return ask(t("task.relink.title"), t("task.relink.text"), action=t("task.do.relink"), yes=yes, fields=fields)

    def edit(self, task: TaskResource) -> Ask:
        async def yes(values: dict[str, Any]) -> None:
            patch = patch_of(values, task)
            if patch != TaskPatch():
                await self._shell.store.client.edit(task.id, patch)
                self._shell.say(t("task.edit.done", name=task.name), tone="ok")

        fields = [
            choice("priority", t("task.priority"), task.priority, [(one, t(f"priority.{one}"), "") for one in PRIORITIES]),
            text("tags", t("task.edit.tags"), tags_as_text(task.tags), help=t("task.edit.tags_help"), placeholder="gpu=yes"),
            text("node", t("task.edit.node"), task.node or "", help=t("task.edit.node_help")),
            text("dir", t("task.edit.dir"), task.dir, help=t("task.edit.dir_help")),
            text("max_attempts", t("task.edit.attempts"), str(task.max_attempts)),
        ]  # fmt: skip
        return ask(t("task.edit.title"), action=t("save"), yes=yes, fields=fields)

    def remove(self, task: TaskResource) -> Ask:
        async def yes(_: dict[str, Any]) -> None:
            await self._shell.store.client.remove(task.id)
            self._shell.say(t("task.remove.done", name=task.name))
            ui.navigate.to("/tasks")

        said = "task.remove.text_done" if task.status == "completed" else "task.remove.text"
        return ask(t("task.remove.title"), t(said), action=t("task.do.remove"), yes=yes, danger=True)


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
