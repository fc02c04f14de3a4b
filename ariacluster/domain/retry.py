"""What follows a failed attempt: aria2's codes as data, and one pure function that judges.

Codes: aria2 manual, "EXIT STATUS". Placement decides *where* the next attempt runs; this decides *if* and *when*.
"""

import re
from typing import NamedTuple

from .policy import Policy
from .task import Failure, FailureKind, Task

MAX_NODES = 3
"""A task that failed on so many different nodes is not the nodes' fault."""

KILLS_WITHIN_MS = 5 * 60_000
"""A node that was lost so soon after it began a task may have been taken down by it."""

MAX_RETRY_AFTER_MS = 24 * 3_600_000
"""No task waits for longer than that, whatever its origin asks for."""

USUAL = Policy()

MAX_CONTENT_FAILURES = 2
"""A bad checksum is worth one more fetch: the first may have been spliced from a file that changed. Not two."""


class Cause(NamedTuple):
    """What an aria2 code means: whose fault, is another attempt worth it, and what a person is told."""

    kind: FailureKind
    retryable: bool
    sentence: str
    restart: bool = False
    """The bytes that are there already are of no use to the next attempt."""


CANNOT_RESUME = 8
"""aria2's code for an origin without ranges, where a download was interrupted."""

O, N, L, C = FailureKind.ORIGIN, FailureKind.NODE, FailureKind.LINK, FailureKind.CONTENT  # noqa: E741
T = FailureKind.THROTTLED

CAUSES: dict[int, Cause] = {
    1: Cause(O, True, "The server could not be reached."),
    2: Cause(O, True, "The server did not answer in time."),
    3: Cause(L, False, "The server has no such file. Check the link."),
    4: Cause(L, False, "The server has no such file. Check the link."),
    5: Cause(O, True, "The download was slower than the lowest speed that was asked for."),
    6: Cause(O, True, "The network failed on the way to the server."),
    7: Cause(N, True, "aria2 was stopped before the download was whole."),
    8: Cause(O, True, "The server cannot resume; the download starts over.", restart=True),
    9: Cause(N, True, "The disk of the node is full."),
    10: Cause(C, True, "The part that was already there does not fit; the download starts over.", restart=True),
    11: Cause(N, True, "aria2 was downloading the same file already."),
    12: Cause(N, True, "aria2 was downloading the same torrent already."),
    13: Cause(N, True, "The file existed already on the node."),
    14: Cause(N, True, "The node could not rename the file."),
    15: Cause(N, True, "The node could not open the file."),
    16: Cause(N, True, "The node could not create the file."),
    17: Cause(N, True, "The node could not read or write the file."),
    18: Cause(N, True, "The node could not create the folder."),
    19: Cause(O, True, "The name of the server could not be resolved. Check the link and the node's DNS."),
    20: Cause(C, False, "The Metalink document could not be read."),
    21: Cause(O, True, "The FTP server refused a command."),
    22: Cause(O, True, "The server gave an answer that aria2 cannot use."),
    23: Cause(L, False, "The server redirected in a circle."),
    24: Cause(L, False, "The server wants a login. The task needs a new link, or a header or option that carries one."),
    25: Cause(C, False, "The torrent could not be read."),
    26: Cause(C, False, "The torrent is damaged or lacks information."),
    27: Cause(C, False, "The magnet link could not be read."),
    28: Cause(C, False, "aria2 refused one of the options."),
    29: Cause(T, True, "The server is overloaded or under maintenance."),
    31: Cause(N, True, "Somebody took the download out of the node's aria2."),
    32: Cause(C, True, "The file does not match its checksum.", restart=True),
}

HTTP_CAUSES: dict[int, Cause] = {
    401: CAUSES[24],
    403: Cause(L, False, "The server refuses this link. The task needs a new one, or a header that opens it."),
    404: CAUSES[3],
    410: Cause(L, False, "The server says that the file is gone for good."),
    429: Cause(T, True, "The server asks for fewer requests."),
    503: CAUSES[29],
}

UNKNOWN = Cause(O, True, "The download failed.")


def cause(code: int, message: str) -> Cause:
    """What an aria2 error means. aria2 folds most HTTP answers into one code; its text tells them apart."""
    status = re.search(r"status[=: ]*(\d{3})", message)
    if code in (1, 22, 24) and status and (by_status := HTTP_CAUSES.get(int(status[1]))):
        return by_status
    return CAUSES.get(code, UNKNOWN)


class Again(NamedTuple):
    """Try again, not before this time (ms)."""

    not_before: int


class GiveUp(NamedTuple):
    """No further attempt; why, as a sentence."""

    reason: str


def counts(failure: Failure, retry_after: int = 0) -> bool:
    """Is it one of the tries that the task may have? Not if the node was lost, nor if the origin said when to come again, nor
    if it only could not go on where it was interrupted: the next one begins anew."""
    if failure.kind is FailureKind.THROTTLED:
        return retry_after <= 0
    return failure.code != CANNOT_RESUME and failure.kind is not FailureKind.LOST


def judge(
    task: Task, failure: Failure, retryable: bool, dice: float, retry_after: int = 0, policy: Policy = USUAL
) -> Again | GiveUp:
    """What follows `failure`, the newest one of `task` (its earlier ones are in the row). `retry_after`: what the origin asked
    for (ms), 0 if it did not."""
    failures = (*task.failures, failure)
    nodes = {f.node for f in failures if f.kind is not FailureKind.THROTTLED and counts(f)}
    if not retryable:
        return GiveUp(failure.message)
    if len(killed := {f.node: f for f in failures if 0 <= f.ran < KILLS_WITHIN_MS}) >= MAX_NODES:
        stories = "; ".join(_story(f) for f in killed.values())
        return GiveUp(f"{len(killed)} nodes were lost soon after it began on them: {stories}.")
    if len(nodes) >= MAX_NODES:
        return GiveUp(f"It failed on {len(nodes)} different nodes. Last: {failure.message}")
    if sum(f.kind is FailureKind.CONTENT for f in failures) >= MAX_CONTENT_FAILURES:
        return GiveUp(f"{failure.message} Fetching it again did not help.")
    if failure.kind is FailureKind.LOST or failure.code == CANNOT_RESUME:
        return Again(failure.at)
    if not counts(failure, retry_after):
        throttled = sum(f.kind is FailureKind.THROTTLED for f in failures)
        return Again(failure.at + max(min(retry_after, MAX_RETRY_AFTER_MS), backoff(throttled, dice, policy)))
    tries = task.tries + 1
    if tries >= (task.spec.max_attempts or policy.max_attempts):
        return GiveUp(failure.message if tries == 1 else f"It failed {tries} times. Last: {failure.message}")
    return Again(failure.at + backoff(tries, dice, policy))


def _story(lost: Failure) -> str:
    return f"{lost.message.removeprefix('Taken back: ').rstrip('.')}, {lost.ran / 1000:.0f} s after it began"


def backoff(tries: int, dice: float, policy: Policy = USUAL) -> int:
    """Milliseconds to wait after the `tries`-th failure: doubling, capped, and spread by ±50 %."""
    delay = min(policy.longest_pause, policy.first_pause << min(tries - 1, 16))
    fair = dice if 0 <= dice < 1 else 0.5  # it came through the log: NaN must not stop every node
    return int(delay * (0.5 + fair))
