"""The history as people read it: a sentence to each entry, made of its data."""

from ariacluster.domain.history import Entry, Kind

from .resources import HistoryEntry
from .showing import moment

ONE: dict[Kind, str] = {
    Kind.TASK_SUBMITTED: "{name} was submitted.",
    Kind.TASK_ASSIGNED: "{name} was given to {detail}.",
    Kind.TASK_STARTED: "{place} began to download {name}.",
    Kind.TASK_COMPLETED: "{place} has downloaded {name}.",
    Kind.TASK_ATTEMPT_FAILED: "{name} failed on {place} and is tried again: {detail}",
    Kind.TASK_FAILED: "{name} failed: {detail}",
    Kind.TASK_LOST: "{name} was taken back from {place}, which was lost: {detail}",
    Kind.TASK_RELEASED: "{name} was taken back from {place}: {detail}",
    Kind.TASK_MOVED: "{name} was moved to {detail}.",
    Kind.TASK_PAUSED: "{name} was paused.",
    Kind.TASK_RESUMED: "{name} was resumed.",
    Kind.TASK_RETRIED: "{name} is to be tried anew.",
    Kind.TASK_RELINKED: "{name} was given another link.",
    Kind.TASK_EDITED: "{name} was changed: {detail}.",
    Kind.TASK_CANCELED: "{name} was canceled.",
    Kind.TASK_REMOVED: "{name} was taken off the list.",
    Kind.NODE_JOINED: "{place} joined the cluster.",
    Kind.NODE_LEFT: "{place} is no longer a member.",
    Kind.NODE_LOST: "{place} is not heard any more.",
    Kind.NODE_BACK: "{place} is back.",
    Kind.NODE_RESIGNED: "{place} said goodbye.",
    Kind.NODE_DRAINED: "{place} is being emptied.",
    Kind.NODE_UNDRAINED: "{place} takes tasks again.",
    Kind.NODE_TUNED: "{place} was given other slots or limits.",
    Kind.LEADER_ELECTED: "{place} leads since term {detail}.",
    Kind.SETTINGS_CHANGED: "Settings were changed: {detail}.",
    Kind.CLUSTER_ABSORBED: "The cluster {detail} was taken in.",
    Kind.CLUSTER_MERGED: "This cluster went into {detail}.",
}

MANY: dict[Kind, str] = {
    Kind.TASK_SUBMITTED: "{count} tasks were submitted, the first of them {name}.",
    Kind.TASK_ASSIGNED: "{count} tasks were given to {place}, the first of them {name}.",
    Kind.TASK_STARTED: "{place} began to download {count} tasks, the first of them {name}.",
    Kind.TASK_COMPLETED: "{place} has downloaded {count} tasks, the first of them {name}.",
    Kind.TASK_ATTEMPT_FAILED: "{count} tasks failed on {place} and are tried again, the first of them {name}: {detail}",
    Kind.TASK_FAILED: "{count} tasks failed, the first of them {name}: {detail}",
    Kind.TASK_LOST: "{count} tasks were taken back from {place}, which was lost, the first of them {name}: {detail}",
    Kind.TASK_RELEASED: "{count} tasks were taken back from {place}, the first of them {name}: {detail}",
    Kind.TASK_MOVED: "{count} tasks were moved to {place}, the first of them {name}.",
    Kind.TASK_PAUSED: "{count} tasks were paused, the first of them {name}.",
    Kind.TASK_RESUMED: "{count} tasks were resumed, the first of them {name}.",
    Kind.TASK_RETRIED: "{count} tasks are to be tried anew, the first of them {name}.",
    Kind.TASK_RELINKED: "{count} tasks were given other links, the first of them {name}.",
    Kind.TASK_EDITED: "{count} tasks were changed, the first of them {name}: {detail}.",
    Kind.TASK_CANCELED: "{count} tasks were canceled, the first of them {name}.",
    Kind.TASK_REMOVED: "{count} tasks were taken off the list, the first of them {name}.",
}
"""Of what happens to tasks by the dozen."""

LABELS = {"first_pause": "retry_pause", "longest_pause": "retry_pause_longest"}
"""Settings that the table calls otherwise than people do."""


def entry_of(entry: Entry) -> HistoryEntry:
    """As the API tells it."""
    return HistoryEntry(
        seq=entry.seq,
        at=moment(entry.at),
        kind=entry.kind.value,
        text=sentence(entry),
        task=entry.task or None,
        task_name=entry.name or None,
        node=entry.node or None,
        node_name=entry.place or None,
        who=entry.who,
        count=entry.count,
    )


def sentence(entry: Entry) -> str:
    many = entry.count > 1 and entry.kind in MANY
    detail = entry.detail.rstrip(". ") or entry.place
    if entry.kind is Kind.SETTINGS_CHANGED:
        detail = ", ".join(LABELS.get(name, name) for name in detail.split(", "))
    text = (MANY if many else ONE)[entry.kind].format(
        name=entry.name or entry.task, place=entry.place or entry.node, count=f"{entry.count:,}", detail=detail
    )
    return text if text.endswith(".") else f"{text}."
