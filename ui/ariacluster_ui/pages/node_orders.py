"""What a person may order of a node: asked for, confirmed, done, told."""

from typing import Any

import msgspec
from nicegui import ui

from ariacluster.domain.errors import InvalidInput
from ariacluster.wire.requests import NodePatch
from ariacluster.wire.resources import NodeResource
from ariacluster_ui.presenters import units
from ariacluster_ui.shell import Shell
from ariacluster_ui.widgets.ask import Ask, ask, check, choice, text
from ariacluster_ui.words import t

PATIENCE = {"0": 0.0, "600": 600.0, "3600": 3600.0, "21600": 21_600.0, "86400": 86_400.0}
"""Seconds for what a node that is drained has begun, by what the choice is called."""


class NodeOrders:
    """The orders of one tab. `take` is what an element's `act` leads to."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell

    async def take(self, event: Any) -> None:
        order = event.args
        node = self._shell.store.nodes.get(str(order.get("id")))
        if node is None:
            self._shell.say(t("node.unknown"), tone="error")
            return
        match order.get("verb"):
            case "drain":
                self.drain(node)
            case "undrain":
                await self.undrain(node)
            case "tune":
                self.tune(node)
            case "lead":
                await self.lead(node)
            case "remove":
                self.remove(node)

    def drain(self, node: NodeResource) -> Ask:
        async def yes(values: dict[str, Any]) -> None:
            within = PATIENCE.get(str(values.get("within")), 0.0)
            await self._shell.store.client.drain(node.id, finish_within=within)
            self._shell.say(t("drain.done", node=node.name), undo=lambda: self._undo_drain(node))

        options = [(name, t(f"drain.within.{name}"), "") for name in PATIENCE]
        within = choice("within", t("drain.within"), "0", options)
        return ask(
            t("drain.title", node=node.name), t("drain.text"), action=t("drain.action"), yes=yes, fields=[within]
        )

    async def _undo_drain(self, node: NodeResource) -> None:
        await self._shell.store.client.undrain(node.id)

    async def undrain(self, node: NodeResource) -> None:
        with self._shell.telling():
            await self._shell.store.client.undrain(node.id)
            self._shell.say(t("undrain.done", node=node.name), tone="ok")

    def tune(self, node: NodeResource) -> Ask:
        async def yes(values: dict[str, Any]) -> None:
            await self._shell.store.client.tune(node.id, patch_of(values, node))
            self._shell.say(t("tune.done", node=node.name), tone="ok")

        fields = [
            text("slots", t("tune.slots"), str(node.total_slots), help=t("tune.slots_help")),
            text("download_limit", t("tune.down"), _rate(node.download_limit), help=t("tune.help"), placeholder=t("tune.none")),
            text("upload_limit", t("tune.up"), _rate(node.upload_limit), help=t("tune.help"), placeholder=t("tune.none")),
        ]  # fmt: skip
        return ask(t("tune.title", node=node.name), action=t("save"), yes=yes, fields=fields)

    async def lead(self, node: NodeResource) -> None:
        with self._shell.telling():
            await self._shell.store.client.transfer(node.id)
            self._shell.say(t("lead.done", node=node.name), tone="ok")

    def remove(self, node: NodeResource) -> Ask:
        online = node.status != "offline"

        async def yes(values: dict[str, Any]) -> None:
            force = bool(values.get("force"))
            await self._shell.store.client.remove_node(node.id, force=force)
            self._shell.say(t("remove.done", node=node.name))
            ui.navigate.to("/nodes")

        return ask(
            t("remove.title", node=node.name),
            t("remove.text_online" if online else "remove.text", node=node.name),
            action=t("remove.action"),
            yes=yes,
            fields=[check("force", t("remove.force"))] if online else [],
            danger=True,
        )


def patch_of(values: dict[str, Any], node: NodeResource) -> NodePatch:
    """What was changed in the fields. `InvalidInput` names the one that makes no sense."""
    changes: dict[str, Any] = {}
    slots = str(values.get("slots", "")).strip()
    if not slots:
        changes["slots"] = None
    elif not slots.isdecimal() or not 1 <= int(slots) <= 1000:
        raise InvalidInput(t("tune.slots_wrong"), field="slots")
    elif int(slots) != node.total_slots:
        changes["slots"] = int(slots)
    for name, before in (("download_limit", node.download_limit), ("upload_limit", node.upload_limit)):
        said = str(values.get(name, "")).strip()
        limit = units.bytes_of(said) if said else 0
        if limit is None:
            raise InvalidInput(t("tune.limit_wrong", text=said), field=name)
        if limit != before:
            changes[name] = limit
    return msgspec.convert(changes, NodePatch)


def _rate(limit: int) -> str:
    return f"{units.plain_size(limit)}/s" if limit else ""
