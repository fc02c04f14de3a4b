"""The line between driver and node: one JSON object a line, questions on the node's stdin, answers on its stdout."""

import os
import sys
import threading
from collections.abc import Iterator
from typing import Any

import msgspec


class Question(msgspec.Struct, frozen=True):
    number: int
    what: str
    args: dict[str, Any]


class Answer(msgspec.Struct, frozen=True):
    """`error` is empty, or why there is no value."""

    number: int
    value: Any = None
    error: str = ""


class NodeEnd:
    """The node's end. Whatever else writes to stdout goes to stderr from now on."""

    def __init__(self) -> None:
        self._out = os.dup(1)
        os.dup2(2, 1)
        self._lock = threading.Lock()

    def questions(self) -> Iterator[Question]:
        """Until the driver is gone; then this process ends at once, whatever it is doing."""
        decoder = msgspec.json.Decoder(Question)
        for line in sys.stdin.buffer:
            yield decoder.decode(line)
        os._exit(0)

    def answer(self, answer: Answer) -> None:
        """From any thread."""
        with self._lock:
            os.write(self._out, msgspec.json.encode(answer) + b"\n")
