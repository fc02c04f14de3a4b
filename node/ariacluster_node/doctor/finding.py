"""What the doctor has to say about one thing."""

from collections.abc import Iterable
from typing import Literal

import msgspec

State = Literal["ok", "warning", "problem", "skipped"]


class Finding(msgspec.Struct, frozen=True):
    """`check` is what was looked at, `says` what was found, `do` what a person can do about it; sentences."""

    check: str
    state: State
    says: str
    do: str = ""


def ok(check: str, says: str) -> Finding:
    return Finding(check, "ok", says)


def warning(check: str, says: str, do: str) -> Finding:
    """Something works less well than it could, or may soon."""
    return Finding(check, "warning", says, do)


def problem(check: str, says: str, do: str) -> Finding:
    """A node cannot work like that, or a cluster cannot."""
    return Finding(check, "problem", says, do)


def skipped(check: str, says: str) -> Finding:
    return Finding(check, "skipped", says)


def is_well(findings: Iterable[Finding]) -> bool:
    """Warnings alone are no reason to fail a script."""
    return all(finding.state != "problem" for finding in findings)


def names(several: Iterable[str]) -> str:
    """`a, b and c`, each once."""
    *first, last = dict.fromkeys(several)
    return f"{', '.join(first)} and {last}" if first else last
