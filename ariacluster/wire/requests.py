"""What the API is asked: the bodies of its requests. Names are the original Aria Cluster's where it had one, so that its
scripts go on working.

Sizes are bytes, speeds bytes per second, times RFC 3339 with their offset. Unknown fields are refused.
"""

from datetime import datetime
from typing import Annotated, Any

import msgspec

Moment = Annotated[datetime, msgspec.Meta(tz=True)]
"""RFC 3339, with its offset: a time without one means another one on every node."""

Limit = Annotated[int, msgspec.Meta(ge=0, le=2**50)]
"""Bytes, or bytes per second."""


class TaskCreate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of `POST /tasks`: one of `url`, `urls` that are mirrors of one file, `torrent` or `metalink` (documents in base64).
    `dir` is relative to the download folder. It begins no earlier than `not_before`, and with `paused` only when it is resumed.
    `force`: even if another task fetches the same."""

    url: str | None = None
    urls: list[str] | None = None
    torrent: str | None = None
    metalink: str | None = None
    out: str | None = None
    dir: str = ""
    options: dict[str, Any] = {}
    headers: list[str] = []
    checksum: str | None = None
    priority: str = "normal"
    tags: dict[str, str] = {}
    prefer_tags: dict[str, str] = {}
    node: str | None = None
    max_attempts: int | None = None
    not_before: Moment | None = None
    paused: bool = False
    force: bool = False


class TaskPatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Body of `PATCH /tasks/{id}`, as in RFC 7396: what is named is changed, null takes it away. A task that runs begins its
    attempt anew where that is needed, and keeps its bytes. Links are changed by `relink`."""

    out: str | msgspec.UnsetType | None = msgspec.UNSET
    dir: str | msgspec.UnsetType = msgspec.UNSET
    options: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET
    headers: list[str] | msgspec.UnsetType = msgspec.UNSET
    checksum: str | msgspec.UnsetType | None = msgspec.UNSET
    priority: str | msgspec.UnsetType = msgspec.UNSET
    tags: dict[str, str | None] | msgspec.UnsetType = msgspec.UNSET
    prefer_tags: dict[str, str | None] | msgspec.UnsetType = msgspec.UNSET
    node: str | msgspec.UnsetType | None = msgspec.UNSET
    max_attempts: int | msgspec.UnsetType | None = msgspec.UNSET
    not_before: Moment | msgspec.UnsetType | None = msgspec.UNSET


class BatchRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of `POST /tasks/batch`: at most `MAX_BATCH` tasks, each taken or refused for itself."""

    tasks: list[TaskCreate]


class ImportRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of `POST /tasks/import`: a list of links, or aria2's input file (`aria2c -i`), as text. What its lines do not say is
    as in `defaults`, whose own links stay empty."""

    text: str
    defaults: TaskCreate = TaskCreate()


class TaskFilter(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which tasks: all that is named holds of them. `q`: in their name or links, whatever the case. `tag`: `KEY=VALUE` or
    `KEY`."""

    ids: list[str] = []
    state: list[str] = []
    node: str | None = None
    tag: list[str] = []
    q: str = ""


class BulkRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of `POST /tasks/bulk`: one of `TASK_BULK_VERBS` to every task that fits the filter. An empty filter is refused."""

    verb: str
    matching: TaskFilter


class MoveRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of `POST /tasks/{id}/move`: the node, by name or id."""

    node: str


class RelinkRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of `POST /tasks/{id}/relink`: where the same file is to be had. Without `headers` those that it has are kept."""

    url: str | None = None
    urls: list[str] | None = None
    headers: list[str] | None = None


class TransferRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of `POST /cluster/transfer`: who is to lead, by name or id; empty: any other voter."""

    node: str = ""


class DrainRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of `POST /nodes/{id}/drain`: for so many seconds may it finish what it has begun."""

    finish_within: Annotated[float, msgspec.Meta(ge=0, le=30 * 86_400)] = 0


class NodePatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Body of `PATCH /nodes/{id}`: what is named is changed. `slots` null: back to its own settings; limits in bytes per
    second, 0 for none."""

    slots: Annotated[int, msgspec.Meta(ge=1, le=1000)] | msgspec.UnsetType | None = msgspec.UNSET
    download_limit: Limit | msgspec.UnsetType = msgspec.UNSET
    upload_limit: Limit | msgspec.UnsetType = msgspec.UNSET


class SettingsPatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Body of `PATCH /settings`: what is named is changed, as in RFC 7396: null brings back what held before anybody said
    anything, and an origin with null loses its limit."""

    strategy: str | msgspec.UnsetType | None = msgspec.UNSET
    origin_connections: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] | msgspec.UnsetType | None = msgspec.UNSET
    origin_limits: dict[str, Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] | None] | msgspec.UnsetType = (
        msgspec.UNSET
    )
    min_free: Limit | msgspec.UnsetType | None = msgspec.UNSET
    max_attempts: Annotated[int, msgspec.Meta(ge=1, le=100)] | msgspec.UnsetType | None = msgspec.UNSET
    retry_pause: Annotated[float, msgspec.Meta(ge=0, le=86_400)] | msgspec.UnsetType | None = msgspec.UNSET
    retry_pause_longest: Annotated[float, msgspec.Meta(ge=0, le=86_400)] | msgspec.UnsetType | None = msgspec.UNSET
    node_timeout: Annotated[float, msgspec.Meta(ge=2, le=86_400)] | msgspec.UnsetType | None = msgspec.UNSET
    forget_after: Annotated[float, msgspec.Meta(ge=60, le=10 * 366 * 86_400)] | msgspec.UnsetType | None = msgspec.UNSET
    slots: Annotated[int, msgspec.Meta(ge=1, le=1000)] | msgspec.UnsetType | None = msgspec.UNSET


class RecoverRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`confirm`: the id of the cluster that is given up."""

    confirm: str


class MergeRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`into`: the id of the other cluster, or its beginning; empty if there is only one other."""

    into: str = ""
