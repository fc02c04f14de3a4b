"""One tree of errors. Each says whose fault it is (`status`), what it is (`code`) and what to do (`detail`)."""

from typing import ClassVar


class AriaClusterError(Exception):
    """Something a person or a program must hear about.

    `code` is stable and for programs, `status` is the HTTP status that a surface answers with, `detail` is one or two
    sentences for a person, `field` names the input that was wrong (dotted path) where there is one, `task` the id of the task
    that it is about, where a caller cannot know it.
    """

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500
    title: ClassVar[str] = "Something went wrong inside the node"

    def __init__(self, detail: str, *, field: str | None = None, task: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.field = field
        self.task = task


class InvalidInput(AriaClusterError):
    code, status, title = "invalid_input", 400, "The request is not valid"


class TooSlow(AriaClusterError):
    code, status, title = "too_slow", 408, "The request did not arrive in time"


class PayloadTooLarge(AriaClusterError):
    code, status, title = "payload_too_large", 413, "The request is too large"


class UnsupportedMediaType(AriaClusterError):
    code, status, title = "unsupported_media_type", 415, "The body must be JSON"


class NotFound(AriaClusterError):
    code, status, title = "not_found", 404, "There is no such thing"


class NoSuchTask(NotFound):
    code, title = "no_such_task", "There is no such task"


class MethodNotAllowed(AriaClusterError):
    code, status, title = "method_not_allowed", 405, "That method does not work here"


class Forbidden(AriaClusterError):
    code, status, title = "forbidden", 403, "That is not allowed"


class Conflict(AriaClusterError):
    code, status, title = "conflict", 409, "That does not fit the present state"


class IllegalMove(Conflict):
    code, title = "illegal_move", "The task is not in a state that allows this"


class StaleAttempt(Conflict):
    code, title = "stale_attempt", "A newer attempt has taken over the task"


class TaskExists(Conflict):
    code, title = "task_exists", "A different task has this id"


class Duplicate(Conflict):
    """`task`: the one that fetches the same already."""

    code, title = "duplicate", "Another task fetches the same"


class TaskRemoved(Conflict):
    code, title = "task_removed", "A task with this id was removed"


class Unavailable(AriaClusterError):
    """Nothing was changed; the same call may succeed later."""

    code, status, title = "unavailable", 503, "The node cannot do that right now"


class NotReady(Unavailable):
    code, title = "not_ready", "The node is still starting"


class Moved(Unavailable):
    code, title = "moved", "The cluster is dissolving into another one"


class NotSpoken(Conflict):
    code, title = "not_spoken", "A node of the cluster does not understand this yet"


class NoLeader(Unavailable):
    code, title = "no_leader", "The cluster has no leader right now"


class NoQuorum(NoLeader):
    code, title = "no_quorum", "A majority of the cluster's voters cannot be reached"


class Overloaded(Unavailable):
    code, title = "overloaded", "The cluster has more to do than it can queue"


class UnknownOutcome(AriaClusterError):
    """The command may or may not take effect; proposing it again under the same id is safe."""

    code, status, title = "unknown_outcome", 504, "No answer in time"


class StartFailed(AriaClusterError):
    """The program cannot start; `detail` is the one sentence that its user reads."""

    code, title = "start_failed", "The node cannot start"


class WrongSettings(StartFailed):
    """Somebody has to correct the settings first: to start again as it is would change nothing."""

    code, title = "wrong_settings", "The settings are wrong"


class Broken(AriaClusterError):
    """The node cannot go on, mostly because its disk failed; it ends, and `detail` is the last that it says."""

    code, title = "broken", "The node has to stop"


def by_code(code: str) -> type[AriaClusterError]:
    """The class that bears `code`; `AriaClusterError` itself for a code that this version does not know."""
    pending = [AriaClusterError]
    while pending:
        cls = pending.pop()
        if cls.code == code:
            return cls
        pending.extend(cls.__subclasses__())
    return AriaClusterError
