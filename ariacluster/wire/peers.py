"""What nodes say to each other over the API, beside the log: reports to the leader, the overview from it."""

import hashlib
import hmac

import msgspec

from ariacluster.domain.member import Report


class Heard(msgspec.Struct, frozen=True):
    """A report as the leader has it, and how old it is (seconds)."""

    report: Report
    age: float


class Overview(msgspec.Struct, frozen=True):
    """Every node's latest report, as the leader that led in `term` has them."""

    term: int
    nodes: tuple[Heard, ...]


class ReportFrame(msgspec.Struct, frozen=True, omit_defaults=True):
    """Node to leader, once a second. `watching`: send me the overview back."""

    report: Report
    watching: bool = False


def peer_token(key: bytes) -> str:
    """Proves knowledge of the cluster key without being it."""
    return hmac.new(key, b"ariacluster peer 1", hashlib.sha256).hexdigest()
