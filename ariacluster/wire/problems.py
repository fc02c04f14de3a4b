"""Errors on the wire: RFC 9457 problem documents, from our errors and back into them."""

import msgspec

from ariacluster.domain.errors import AriaClusterError, by_code

CONTENT_TYPE = "application/problem+json"


class Problem(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """RFC 9457, section 3.1, with three members of ours: `code` (stable, for programs), `field` (the input at fault) and `task`
    (the id of the task that it is about)."""

    title: str
    status: int
    detail: str
    code: str
    field: str | None = None
    task: str | None = None
    type: str = "about:blank"


def problem_of(error: AriaClusterError) -> Problem:
    return Problem(
        title=error.title,
        status=error.status,
        detail=error.detail,
        code=error.code,
        field=error.field,
        task=error.task,
    )


def error_of(status: int, body: bytes) -> AriaClusterError:
    """The error that an answer bears; an answer that is no problem document still becomes a readable error."""
    try:
        problem = msgspec.json.decode(body, type=Problem)
    except msgspec.MsgspecError:
        return AriaClusterError(f"The node answered with status {status} and no explanation.")
    return error_from(problem)


def error_from(problem: Problem) -> AriaClusterError:
    """The error that was told."""
    return by_code(problem.code)(problem.detail, field=problem.field, task=problem.task)
