"""How an attempt ended, as the table is told: small enough for one log entry, whatever aria2 or a torrent brings."""

import secrets

import msgspec

from ariacluster.domain import retry
from ariacluster.domain.commands import Complete, Fail
from ariacluster.domain.reconcile import Download, Receipt
from ariacluster.domain.secrets import scrubbed
from ariacluster.domain.task import FailureKind, Result, Task

BAD_OPTION = 28
IO_ERROR = 17
"""aria2's codes for what the worker itself finds."""

MAX_LISTED_BYTES = 16 * 1024
"""Of the paths in a result, and"""

MAX_MESSAGE_CHARS = 1_000
"""of aria2's words in a failure: a command must fit one log entry, or the table would never hear how the task ended."""


def meaning(download: Download) -> retry.Cause:
    """Of the error that the download ended in."""
    return retry.cause(download.error_code, download.error_message)


def failed(task: Task, code: int, message: str, *, at_fault: bool = False, retry_after: int = 0) -> Fail:
    """`at_fault`: it is the node on which it cannot run, whatever the code says. `retry_after` in ms."""
    kind = FailureKind.NODE if at_fault or code == IO_ERROR else retry.cause(code, message).kind
    dice = secrets.randbelow(1000) / 1000
    return Fail(task.id, task.attempt, kind, code, scrubbed(message)[:MAX_MESSAGE_CHARS], dice, retry_after)


def ends_engine(task: Task, ends: int) -> Fail:
    """The engine of this node ended so often while it ran the task."""
    return failed(task, 0, f"aria2c ended {ends} times while it ran this, at last alone.", at_fault=True)


def failed_by(task: Task, download: Download, *, retry_after: int = 0) -> Fail:
    """As the engine tells it."""
    said = f" aria2 said: {download.error_message.rstrip('. ')}." if download.error_message else ""
    return failed(task, download.error_code, f"{meaning(download).sentence}{said}", retry_after=retry_after)


def completed(task: Task, receipt: Receipt) -> Complete:
    return Complete(task.id, task.attempt, _fitting(receipt.result))


def _fitting(result: Result) -> Result:
    """The result with as many of its files as one command has room for; the counts stay whole."""
    room, files = MAX_LISTED_BYTES, result.files
    for count, entry in enumerate(files):
        room -= len(entry.path.encode())
        if room < 0:
            return msgspec.structs.replace(result, files=files[:count])
    return result
