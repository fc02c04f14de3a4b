"""Commands: the only way the table changes. What depends on a clock or on dice is read before, and travels inside.

A `Proposal` is one entry of the log: commands applied in order, each with its own outcome. Its id makes it idempotent:
proposed twice, it changes the table once and has the same outcomes.
"""

from collections.abc import Iterable

import msgspec

from .formation import Membership
from .member import Member, Tuning
from .policy import Policy
from .task import FailureKind, Result, Task, TaskSpec


class Submit(msgspec.Struct, frozen=True, tag="submit"):
    """Take a task in. The same id with the same spec again is no change; with another spec it is refused.

    `asking`: for so long (ms) its origin is asked how large it is, and nobody is given the task before `Measure` tells.
    `paused`: it waits until it is resumed. `unique`: it is refused if another task fetches the same that has not failed.
    """

    task: str
    spec: TaskSpec
    asking: int = 0
    paused: bool = False
    unique: bool = False


class Measure(msgspec.Struct, frozen=True, tag="measure"):
    """What the origin says of the task: bytes (0: it does not say), and the ETag or Last-Modified of what lies there.

    `links`: which ones were asked (`origins.links_of`), for the task may have been given others since; 0: whichever.
    """

    task: str
    size: int = 0
    validator: str = ""
    links: int = 0


class Assign(msgspec.Struct, frozen=True, tag="assign"):
    """Give a pending task to `node` as its attempt number `attempt`, which must be the next one.

    `fetch`: the bytes that lie elsewhere are to be fetched from there first; without it they are given up.
    """

    task: str
    attempt: int
    node: str
    reason: str
    connections: int = 0
    fetch: bool = False


class Move(msgspec.Struct, frozen=True, tag="move"):
    """Take a task from the node that has it and give it to `node`, in one step. As `Assign`; with `idle` only while the one
    that has it has not begun to download."""

    task: str
    attempt: int
    node: str
    reason: str
    connections: int = 0
    fetch: bool = False
    idle: bool = False


class Took(msgspec.Struct, frozen=True, tag="took"):
    """The node of this attempt has fetched the bytes that lay elsewhere, or gives them up and begins anew."""

    task: str
    attempt: int


class Start(msgspec.Struct, frozen=True, tag="start"):
    """The node's aria2 began to download; `size` in bytes as it knows it, 0 if it does not."""

    task: str
    attempt: int
    size: int = 0


class Complete(msgspec.Struct, frozen=True, tag="complete"):
    """The node has the whole thing, verified and published."""

    task: str
    attempt: int
    result: Result


class Fail(msgspec.Struct, frozen=True, tag="fail"):
    """The attempt ended without success; `retry.judge` says what follows. `dice` in [0, 1) spreads the next try.

    `retry_after`: for so long (ms) the origin wants to be left alone, in its own words; 0 if it did not say.
    """

    task: str
    attempt: int
    kind: FailureKind
    code: int
    message: str
    dice: float
    retry_after: int = 0


class Release(msgspec.Struct, frozen=True, tag="release"):
    """Take an attempt from its node: the node has not been heard for too long (`message` says how long, `silent` in ms).

    With `idle` only while the node has not begun, and without a mark against it: it is heard, and its place is for another.
    """

    task: str
    attempt: int
    message: str
    silent: int = 0
    idle: bool = False


class Pause(msgspec.Struct, frozen=True, tag="pause"):
    task: str


class Resume(msgspec.Struct, frozen=True, tag="resume"):
    task: str


class Retry(msgspec.Struct, frozen=True, tag="retry"):
    """Try a failed or canceled task anew; its failures are forgotten, its bytes are not."""

    task: str


class Relink(msgspec.Struct, frozen=True, tag="relink"):
    """The same file under a new link: fetched from there from now on, tried anew, and its bytes are kept. `headers` None:
    those that it has."""

    task: str
    urls: tuple[str, ...]
    headers: tuple[str, ...] | None = None


class Edit(msgspec.Struct, frozen=True, tag="edit"):
    """Ask something else of a task that is not over; its links stay. `known`: the mark (`task.mark_of`) of the spec that this
    one was made from, so that nothing is lost that somebody else has changed meanwhile. `size`: bytes that it has from now on,
    0 if nobody knows; None: as before."""

    task: str
    spec: TaskSpec
    known: int
    size: int | None = None


class Cancel(msgspec.Struct, frozen=True, tag="cancel"):
    task: str


class Remove(msgspec.Struct, frozen=True, tag="remove"):
    """Take the row off the table, whatever its state."""

    task: str


class Register(msgspec.Struct, frozen=True, tag="register"):
    """Write down a member, or what changed about it."""

    member: Member


class Unregister(msgspec.Struct, frozen=True, tag="unregister"):
    """Strike a member off. The dispatcher then takes its tasks back, and the leader its vote. The last member stays."""

    node: str


class Drain(msgspec.Struct, frozen=True, tag="drain"):
    """The node is given nothing new, and what it has goes elsewhere with its bytes: at once what it has not begun, the rest
    when it is not finished by `until` (ms since the epoch)."""

    node: str
    until: int


class Undrain(msgspec.Struct, frozen=True, tag="undrain"):
    """The node takes tasks again."""

    node: str


class Tune(msgspec.Struct, frozen=True, tag="tune"):
    """Slots and limits of a node, in place of its own settings."""

    node: str
    tuning: Tuning


class Configure(msgspec.Struct, frozen=True, tag="configure"):
    """How the dispatcher goes about it from now on."""

    policy: Policy


class Introduce(msgspec.Struct, frozen=True, tag="introduce"):
    """Write down a member of another cluster that comes, or may come, with its rows. Who is known already stays as it is."""

    member: Member


class Adopt(msgspec.Struct, frozen=True, tag="adopt"):
    """Take over a row of another cluster, with its story and the attempt that runs: see `union`."""

    row: Task


class Bury(msgspec.Struct, frozen=True, tag="bury"):
    """These tasks were removed in another cluster that comes with its rows: no other member of it may bring them back."""

    tasks: tuple[str, ...]


class Absorb(msgspec.Struct, frozen=True, tag="absorb"):
    """That cluster is no more, and whoever still belongs to it belongs here. `whole`: all its rows are here, for its table was
    closed; else others of it may still bring something that nobody here knows."""

    cluster: str
    whole: bool = False


class Succeed(msgspec.Struct, frozen=True, tag="succeed"):
    """This cluster dissolves into another: the last word of its log. Nothing after it changes the table, so that everybody
    who carries it over carries the same."""

    into: Membership


class Miss(msgspec.Struct, frozen=True, tag="miss"):
    """The leader has not heard `node` since then (ms since the epoch); 0: it has heard it again."""

    node: str
    since: int


class Elect(msgspec.Struct, frozen=True, tag="elect"):
    """`node` leads since `term`: its first word, for the history."""

    node: str
    term: int


class Resign(msgspec.Struct, frozen=True, tag="resign"):
    """The node stops, and gives its vote up until it registers again."""

    node: str


TaskCommand = (
    Submit
    | Measure
    | Assign
    | Move
    | Took
    | Start
    | Complete
    | Fail
    | Release
    | Pause
    | Resume
    | Retry
    | Relink
    | Edit
    | Cancel
    | Remove
)
"""What happens to one task."""

MemberCommand = Register | Unregister | Introduce | Miss | Resign | Drain | Undrain | Tune | Elect
"""Who belongs to the cluster, who is there, and how they work."""

UnionCommand = Adopt | Bury | Absorb | Succeed
"""How clusters become one."""

Command = TaskCommand | MemberCommand | UnionCommand | Configure  # one tag each

LANGUAGE = 3
"""The newest version of the commands that this program understands. A new command, or a new field of one or of what is in
it, raises it, and is entered in `SINCE`: until every member understands it, nobody may say it."""

SINCE: dict[type, int] = {Submit: 2, Edit: 3, Elect: 2, Configure: 2}
"""The version that brought a command in; 1 for all that are not here."""


def language(commands: Iterable[Command]) -> int:
    """The version that one must understand to apply these."""
    return max((SINCE.get(type(command), 1) for command in commands), default=1)


class Proposal(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One log entry. `at` is the proposer's clock in ms, `by` its node id, `who` told it to (empty: nobody, it is the cluster's
    own word), `v` the version of the commands that one must understand to apply it: see `LANGUAGE`."""

    id: str
    at: int
    by: str
    commands: tuple[Command, ...]
    v: int = 1
    who: str = ""


class Refusal(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why a command changed nothing: the `code` of an error of ours and its sentence. The same on every node. `task`: the one
    that stands in the way, if one does."""

    code: str
    detail: str
    task: str = ""


Outcome = Refusal | None
"""None: the command took effect, or had before."""

MAX_PROPOSAL_BYTES = 32 * 1024
"""The largest encoded proposal. Above it a log entry would be cut into pieces, which the engine does not do safely."""
