"""New downloads: what is typed is looked at, what is said yes to is submitted, and what is refused stays in the dialog."""

from typing import Any

import msgspec

from ariacluster.domain.errors import AriaClusterError, InvalidInput
from ariacluster.wire.requests import TaskCreate, TaskFilter
from ariacluster.wire.resources import BatchItem
from ariacluster_ui.documents import Documents, as_text
from ariacluster_ui.presenters.adding import MAX_TEXT, left_over, looked_at, refusals
from ariacluster_ui.shell import Shell
from ariacluster_ui.widgets.adding import Adder
from ariacluster_ui.words import t

from .task_orders import tags_of

UNDONE_AT_ONCE = 1000
"""So many can be taken back by one word."""


class Adding:
    """The dialog of one tab."""

    def __init__(self, shell: Shell, documents: Documents) -> None:
        self._shell = shell
        self._documents = documents
        self._adder = Adder()
        self._adder.on("look", self._look)
        self._adder.on("submit", self._submit)
        shell.on_add = self.open

    def open(self) -> None:
        self._shell.tell({"k": "add_open"})

    def _look(self, event: Any) -> None:
        text = str(event.args.get("text", ""))[:MAX_TEXT]
        self._shell.tell({"k": "add_look", "number": event.args.get("number"), **looked_at(text)})

    async def _submit(self, event: Any) -> None:
        said = event.args
        try:
            await self._send(said)
        except AriaClusterError as error:
            self._shell.tell({"k": "add_done", "error": error.detail, "field": error.field})

    async def _send(self, said: dict[str, Any]) -> None:
        text, tokens = str(said.get("text", "")), [str(token) for token in said.get("files", [])]
        if len(text) > MAX_TEXT:
            raise InvalidInput(t("add.too_long"), field="text")
        if not text.strip() and not tokens:
            raise InvalidInput(t("add.nothing"), field="text")
        defaults = wishes_of(said.get("values", {}), force=bool(said.get("force")))
        client, key = self._shell.store.client, str(said.get("key", "")) or None
        accepted: list[str] = []
        refused: dict[str, BatchItem] = {}
        left = ""
        if text.strip():
            answer = await client.submit_list(text, defaults, key=key and f"{key}-list")
            accepted += [item.id for item in answer.results if item.id]
            bad = {item.line: item for item in answer.results if item.problem is not None}
            lines = text.split("\n")
            refused |= {lines[line - 1].strip(): item for line, item in sorted(bad.items()) if 0 < line <= len(lines)}
            left = left_over(text, bad)
        kept = {token: self._documents.take(token) for token in tokens}
        for token, document in kept.items():
            task = msgspec.structs.replace(defaults, **{document.kind: as_text(document.data)})
            answer = await client.submit_all([task], key=key and f"{key}-{token}")
            [item] = answer.results
            if item.problem is None:
                accepted.append(item.id or "")
                self._documents.drop(token)
            else:
                refused[document.name] = item
        self._tell(accepted, refused, left)

    def _tell(self, accepted: list[str], refused: dict[str, BatchItem], left: str) -> None:
        done = {"k": "add_done", "accepted": len(accepted), "refused": refusals(refused), "left": left}
        self._shell.tell(done | {"more": max(0, len(refused) - len(done["refused"]))})  # type: ignore[arg-type]
        if not accepted:
            return

        async def back() -> None:
            await self._shell.store.client.say_to_all("remove", TaskFilter(ids=accepted))

        undo = back if len(accepted) <= UNDONE_AT_ONCE else None
        self._shell.say(t("add.done", n=len(accepted)), tone="ok", undo=undo)


def wishes_of(values: dict[str, Any], *, force: bool) -> TaskCreate:
    """What holds for all of them; `InvalidInput` names the field."""
    wishes: dict[str, Any] = {
        "dir": str(values.get("dir", "")).strip(),
        "node": str(values.get("node", "")).strip() or None,
        "priority": str(values.get("priority", "")) or "normal",
        "tags": tags_of(str(values.get("tags", "")), "tags"),
        "prefer_tags": tags_of(str(values.get("prefer_tags", "")), "prefer_tags"),
        "headers": [line.strip() for line in str(values.get("headers", "")).split("\n") if line.strip()],
        "checksum": str(values.get("checksum", "")).strip() or None,
        "not_before": values.get("not_before") or None,
        "paused": bool(values.get("paused")),
        "force": force,
    }
    try:
        return msgspec.convert(wishes, TaskCreate)
    except msgspec.ValidationError as error:
        raise InvalidInput(f"{error}.") from None
