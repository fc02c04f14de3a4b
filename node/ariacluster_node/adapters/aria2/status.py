"""From what aria2 lists to what the port reports: one download per job, whatever aria2 made of it.

A magnet link, a .torrent or a Metalink document ends `complete` as soon as it is read, and is followed by the downloads it
describes (`followedBy`; the way back is `following`, or `belongsTo` for the torrent of a Metalink entry). A family is all
of them; its root carries the job's GID.
"""

from collections import defaultdict
from collections.abc import Iterable

import msgspec

from ariacluster.domain.reconcile import Download

KEYS = [
    "gid",
    "status",
    "totalLength",
    "completedLength",
    "downloadSpeed",
    "uploadSpeed",
    "connections",
    "errorCode",
    "errorMessage",
    "followedBy",
    "following",
    "belongsTo",
]
"""What is asked of aria2 per download: without a list it would also send every file of every torrent."""


class Entry(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One download in aria2's own words. Decode it laxly: aria2 sends its numbers as strings."""

    gid: str
    status: str
    total_length: int = 0
    completed_length: int = 0
    download_speed: int = 0
    upload_speed: int = 0
    connections: int = 0
    error_code: int = 0
    error_message: str = ""
    followed_by: tuple[str, ...] = ()
    following: str = ""
    belongs_to: str = ""

    @property
    def parent(self) -> str:
        return self.following or self.belongs_to


def entries(lists: Iterable[object]) -> list[Entry]:
    """Decode the answers of tellActive, tellWaiting and tellStopped."""
    return [entry for answer in lists for entry in msgspec.convert(answer, list[Entry], strict=False)]


def families(listed: Iterable[Entry]) -> dict[str, list[Entry]]:
    """Group by the GID of the root. A root that is listed no more still names its family."""
    by_gid = {entry.gid: entry for entry in listed}
    grouped = defaultdict(list)
    for entry in by_gid.values():
        root, seen = entry.gid, {entry.gid}
        while (above := by_gid.get(root)) is not None and above.parent and above.parent not in seen:
            root = above.parent
            seen.add(root)
        grouped[root].append(entry)
    return dict(grouped)


def fold(root: str, family: Iterable[Entry]) -> Download:
    """One download out of a family. Metadata counts for nothing once what it describes is there.

    Complete when all are, in error as soon as one is; a member that is missing was removed by somebody.
    """
    family = list(family)
    listed = {entry.gid for entry in family}
    missing = any(child not in listed for entry in family for child in entry.followed_by)
    payload = [entry for entry in family if not entry.followed_by]
    status = _worst(entry.status for entry in family)
    if missing and status != "error":
        status = "removed"
    culprit = next((entry for entry in family if status in ("error", "removed") and entry.status == status), None)
    return Download(
        gid=root,
        status=status,
        total=sum(entry.total_length for entry in payload),
        completed=sum(entry.completed_length for entry in payload),
        speed=sum(entry.download_speed for entry in payload),
        upload_speed=sum(entry.upload_speed for entry in payload),
        connections=sum(entry.connections for entry in payload),
        error_code=culprit.error_code if culprit else 0,
        error_message=culprit.error_message if culprit else "",
    )


_WORST_FIRST = ("error", "removed", "active", "waiting", "paused")


def _worst(statuses: Iterable[str]) -> str:
    present = set(statuses)
    return next((status for status in _WORST_FIRST if status in present), "complete")
