"""The data folder and the download folder. Looked at without making anything in them."""

import asyncio
import contextlib
import fcntl
import os
import shutil
import stat
from pathlib import Path

import msgspec

from ariacluster.domain.errors import StartFailed
from ariacluster.domain.formation import Membership
from ariacluster.domain.placement import human
from ariacluster.domain.policy import MIN_FREE
from ariacluster_node.adapters.storage.confinement import STAGING
from ariacluster_node.adapters.storage.state import NodeState

from .finding import Finding, ok, problem, warning

DATA = "data folder"
DOWNLOADS = "downloads"

LITTLE = 5 * MIN_FREE
"""Bytes free below which a person should know, though tasks are still taken."""


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """A folder as it is, or where it would be made. `free`: bytes for this user; `wrong`: why it cannot be looked at."""

    folder: Path
    exists: bool = False
    is_folder: bool = True
    writable: bool = True
    free: int = 0
    wrong: str = ""


class Data(msgspec.Struct, frozen=True, kw_only=True):
    """What the data folder holds. `holder`: the process that has locked it, 0 if that cannot be told, None if none has.
    `damage`: the sentence with which a node would refuse it."""

    place: Place
    holder: int | None = None
    node_id: str = ""
    membership: Membership | None = None
    damage: str = ""


class Downloads(msgspec.Struct, frozen=True, kw_only=True):
    """`one_disk`: what is staged can be renamed into its place."""

    place: Place
    one_disk: bool = True


async def look_at_data(folder: Path) -> Data:
    place = await asyncio.to_thread(_place, folder)
    if not place.exists or not place.is_folder or place.wrong:
        return Data(place=place)
    state, node_id, membership = NodeState(folder), "", None
    try:
        holder = await asyncio.to_thread(_holder, folder / "node.lock")
        if await asyncio.to_thread((folder / "identity.json").exists):  # asked for otherwise, one would be made
            node_id = await state.identity()
        membership = await state.membership()
        await state.check_log(membership)
    except StartFailed as error:
        return Data(place=place, node_id=node_id, membership=membership, damage=error.detail)
    except OSError as error:
        wrong = f"{error.strerror or error} ({error.filename})"
        return Data(place=msgspec.structs.replace(place, wrong=wrong), node_id=node_id)
    return Data(place=place, holder=holder, node_id=node_id, membership=membership)


def judge_data(data: Data, cluster: str) -> list[Finding]:
    """`cluster`: the name that the settings give."""
    place = data.place
    if trouble := _unusable(DATA, "data folder", "--data", place):
        return [trouble]
    if data.damage:
        return [
            problem(DATA, data.damage, "Nothing but that node's own data can mend it; its downloads are not in there.")
        ]
    if data.membership is not None and data.membership.cluster_name != cluster:
        theirs = data.membership.cluster_name
        return [
            problem(
                DATA,
                f"{place.folder} belongs to the cluster {theirs!r}, not to {cluster!r}.",
                f"Start with --cluster {theirs}, or with another --data.",
            )
        ]
    whose = (
        f"belongs to the cluster {data.membership.cluster_name!r} ({data.membership.cluster_id}), and its log is there"
        if data.membership is not None
        else "belongs to no cluster yet"
        if place.exists
        else "will be made at the first start"
    )
    found = [ok(DATA, f"{place.folder} {whose}{_used_by(data)}.")]
    if place.free < MIN_FREE:
        found = [
            warning(
                DATA,
                f"{place.folder} {whose}{_used_by(data)}, and its disk has only {human(place.free)} free.",
                "Make room: a node that cannot write its log has to stop.",
            )
        ]
    return found


async def look_at_downloads(folder: Path) -> Downloads:
    return await asyncio.to_thread(_downloads, folder)


def judge_downloads(downloads: Downloads) -> list[Finding]:
    place = downloads.place
    if trouble := _unusable(DOWNLOADS, "download folder", "--dir", place):
        return [trouble]
    if not downloads.one_disk:
        return [
            problem(
                DOWNLOADS,
                f"{place.folder / STAGING} lies on another disk than {place.folder}, or is a link: nothing can be published.",
                f"Move {STAGING} away while no node runs; it is made anew.",
            )
        ]
    says = f"{place.folder}{'' if place.exists else ', made at the first start,'} has {human(place.free)} free"
    if place.free < MIN_FREE:
        return [
            problem(
                DOWNLOADS,
                f"{says}; under {human(MIN_FREE)} this node takes no tasks.",
                "Make room, or choose another disk with --dir.",
            )
        ]
    if place.free < LITTLE:
        return [warning(DOWNLOADS, f"{says}.", "Make room soon, or choose another disk with --dir.")]
    return [ok(DOWNLOADS, f"{says}.")]


def _used_by(data: Data) -> str:
    if data.holder is None:
        return ""
    return f"; a node uses it now (pid {data.holder})" if data.holder else "; a node uses it now"


def _unusable(check: str, what: str, option: str, place: Place) -> Finding | None:
    if place.wrong:
        return problem(
            check,
            f"The {what} {place.folder} cannot be looked at: {place.wrong}.",
            f"Run this as the user that the node runs as, or name the right folder with {option}.",
        )
    if not place.is_folder:
        return problem(
            check,
            f"{place.folder}, or what it should lie in, is not a folder.",
            f"Move what is there away, or choose another {what} with {option}.",
        )
    if not place.writable:
        return problem(
            check,
            f"The {what} {place.folder} {'is not writable' if place.exists else 'cannot be made'} for this user.",
            f"Change the permissions, or choose another with {option}.",
        )
    return None


def _place(folder: Path) -> Place:
    """Blocking."""
    try:
        there = folder
        while not os.path.lexists(there) and there != there.parent:
            there = there.parent
        return Place(
            folder=folder,
            exists=there == folder,
            is_folder=there.is_dir(),
            writable=os.access(there, os.R_OK | os.W_OK | os.X_OK),
            free=shutil.disk_usage(there).free,
        )
    except OSError as error:
        return Place(folder=folder, wrong=str(error.strerror or error))


def _downloads(folder: Path) -> Downloads:
    place = _place(folder)
    one_disk = True
    if place.exists and not place.wrong:
        with contextlib.suppress(OSError):  # there is none yet
            staging = (folder / STAGING).lstat()
            one_disk = stat.S_ISDIR(staging.st_mode) and staging.st_dev == folder.stat().st_dev
    return Downloads(place=place, one_disk=one_disk)


def _holder(path: Path) -> int | None:
    """Who has locked it. A shared lock is had for a moment only, and none is left behind."""
    try:
        lock = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        text = os.pread(lock, 20, 0)
        return int(text) if text.isdigit() else 0
    finally:
        os.close(lock)
    return None
