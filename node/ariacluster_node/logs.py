"""Logs: one event a line, key=value or JSON, to standard error; the libraries' own lines in the same form.

error: the node cannot do what it is for, and somebody has to act. warning: something is wrong that it copes with. info: what it
decided, and what came of it. debug: what it tried on the way.
"""

import logging
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Literal

import structlog
from structlog.tracebacks import ExceptionDictTransformer
from structlog.typing import EventDict, Processor, WrappedLogger

QUIET = ("aiohttp.access", "zeroconf", "asyncio", "pysyncobj")
"""Libraries that chat; their warnings are enough."""

HIDDEN = "***"

_LOGIN = re.compile(r"(://)[^/\s@\"'\\]+(?=@)")
_HEADER = re.compile(
    r"(\b(?:proxy-)?(?:authorization|cookie|set-cookie)\b[\"']?\s*[:=]\s*[\"']?)[^\"'\\\r\n]+", re.IGNORECASE
)
"""What no line should have in it. None does that we write; the words of servers, libraries and aria2 may."""

_bound: dict[str, str] = {}

_names: list[Callable[[str], str]] = []


def bind(**ids: str) -> None:
    """Who writes, on every line from now on, whichever thread it comes from. A process is one node."""
    _bound.update(ids)


def name_nodes(name_of: Callable[[str], str]) -> None:
    """`name_of` an id is what people call that node, or the id where nobody knows. A line that tells of a node by its id tells
    both from now on, whichever thread it comes from."""
    _names[:] = [name_of]


def configure(level: str, form: Literal["text", "json"]) -> None:
    """Once, before anything logs."""
    _bound.clear()
    _names.clear()
    stamp: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _name,
        _sign,
    ]
    render: list[Processor] = (
        [
            # Without the local variables of each frame: keys and headers are among them.
            structlog.processors.ExceptionRenderer(ExceptionDictTransformer(show_locals=False)),
            structlog.processors.JSONRenderer(),
        ]
        if form == "json"
        else [
            structlog.processors.format_exc_info,
            structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"], bool_as_flag=False),
        ]
    )
    structlog.configure(
        processors=[*stamp, *render, _hide],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=_Lines,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=stamp,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render, _hide],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))


class _Lines:
    """Where our own lines go. They need none of what `logging` does for those of the libraries, and cost a third without it."""

    def __init__(self, *_name: str) -> None:
        self._stream = sys.stderr

    def write(self, line: str) -> None:
        """What cannot be written (a full disk, a pipe that nobody reads) is lost, and stops nobody."""
        with suppress(OSError, ValueError):
            self._stream.write(f"{line}\n")
            self._stream.flush()

    debug = info = warning = error = critical = write


def _name(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    for name_of in _names:
        for key in ("node", "peer"):
            told = event.get(key)
            if isinstance(told, str) and (name := name_of(told)) != told:
                event[key], event[f"{key}_id"] = name, told
    return event


def _sign(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    for key, value in _bound.items():
        event.setdefault(key, value)
    return event


def _hide(_logger: WrappedLogger, _method: str, line: EventDict | str) -> str:
    text = str(line)
    if "@" in text:
        text = _LOGIN.sub(rf"\g<1>{HIDDEN}", text)
    lower = text.lower()
    if "authorization" in lower or "cookie" in lower:
        text = _HEADER.sub(rf"\g<1>{HIDDEN}", text)
    return text
