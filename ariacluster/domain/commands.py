"""Commands: the only way the table changes. What depends on a clock or on dice is read before, and travels inside.

A `Proposal` is one entry of the log: commands applied in order, each with its own outcome. Its id makes it idempotent:
proposed twice, it changes the table once and has the same outcomes.
"""

import msgspec

from .member import Member
from .task import FailureKind, Result, TaskSpec


class Submit(msgspec.Struct, frozen=True, tag="submit"):
    """Take a task in. The same id with the same spec again is no change; with another spec it is refused."""

    task: str
    spec: TaskSpec


class Assign(msgspec.Struct, frozen=True, tag="assign"):
    """Give a pending task to `node` as its attempt number `attempt`, which must be the next one."""

    task: str
    attempt: int
    node: str
    reason: str


class Start(msgspec.Struct, frozen=True, tag="start"):
    """The node's aria2 began to download."""

    task: str
    attempt: int


class Complete(msgspec.Struct, frozen=True, tag="complete"):
    """The node has the whole thing, verified and published."""

    task: str
    attempt: int
    result: Result


class Fail(msgspec.Struct, frozen=True, tag="fail"):
    """The attempt ended without success; `retry.judge` says what follows. `dice` in [0, 1) spreads the next try."""

    task: str
    attempt: int
    kind: FailureKind
    code: int
    message: str
    dice: float


class Release(msgspec.Struct, frozen=True, tag="release"):
    """Take an attempt from its node: the node has not been heard for too long (`message` says how long)."""

    task: str
    attempt: int
    message: str


class Pause(msgspec.Struct, frozen=True, tag="pause"):
    task: str


class Resume(msgspec.Struct, frozen=True, tag="resume"):
    task: str


class Retry(msgspec.Struct, frozen=True, tag="retry"):
    """Try a failed or canceled task anew; its failures are forgotten, its bytes are not."""

    task: str


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


Command = (
    Submit
    | Assign
    | Start
    | Complete
    | Fail
    | Release
    | Pause
    | Resume
    | Retry
    | Cancel
    | Remove
    | Register
    | Unregister
)  # one tag each; a new one needs a new `Proposal.v`


class Proposal(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One log entry. `at` is the proposer's clock in ms, `by` its node id, `v` the version of the command set."""

    id: str
    at: int
    by: str
    commands: tuple[Command, ...]
    v: int = 2


class Refusal(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why a command changed nothing: the `code` of an error of ours and its sentence. The same on every node."""

    code: str
    detail: str


Outcome = Refusal | None
"""None: the command took effect, or had before."""

MAX_PROPOSAL_BYTES = 32 * 1024
"""The largest encoded proposal. Above it a log entry would be cut into pieces, which the engine does not do safely."""
