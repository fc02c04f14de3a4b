"""How tests and people talk to a lab's holder: a Unix socket in its folder; packets of JSON, with open files along.

One request and one reply a connection. The door is opened through a file descriptor of the folder, for the path of a
Unix socket may only be 107 bytes long, and that of a test's folder is longer at times.
"""

import os
import socket
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

NAME = "door"
_MAX_BYTES = 100_000
_MAX_FILES = 250  # the kernel takes 253 at a time


class LabError(Exception):
    """The lab cannot do what it was asked; the text says why."""


def listen(folder: Path) -> socket.socket:
    """The holder's side; a door that an earlier holder left behind is replaced."""
    (folder / NAME).unlink(missing_ok=True)
    door = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with _reachable(folder) as path:
        door.bind(path)
    door.listen(64)
    return door


def send(to: socket.socket, message: object, files: Sequence[int] = ()) -> None:
    socket.send_fds(to, [msgspec.json.encode(message)], list(files))


def receive(of: socket.socket) -> tuple[Any, list[int]]:
    """A message, and the open files that came along, now ours to close. EOFError when the other side has gone."""
    data, files, _, _ = socket.recv_fds(of, _MAX_BYTES, _MAX_FILES)
    if not data:
        raise EOFError
    for file in files:
        os.set_inheritable(file, False)
    return msgspec.json.decode(data), files


def call(
    folder: Path,
    verb: str,
    words: Mapping[str, object] | None = None,
    *,
    files: Sequence[int] = (),
    within: float | None = 30.0,
) -> tuple[Any, list[int]]:
    """Ask the holder; its answer and the open files that came along. Blocks. LabError if it refuses, is not there, or has
    not answered within so many seconds (None: waits as long as it takes)."""
    with _connected(folder) as door:
        door.settimeout(within)
        try:
            send(door, {"verb": verb, **(words or {})}, files)
            reply, received = receive(door)
        except TimeoutError:
            raise LabError(f"{verb}: no answer within {within} s") from None
        except (EOFError, OSError):
            raise LabError(f"{verb}: the lab has ended") from None
    if "error" in reply:
        raise LabError(f"{verb}: {reply['error']}")
    return reply.get("answer"), received


def holder_of(folder: Path) -> int:
    """The pid of the process that holds the lab, as seen from here. LabError if there is none."""
    with _connected(folder) as door:
        pid, _, _ = struct.unpack("3i", door.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return int(pid)


@contextmanager
def _connected(folder: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as door:
        try:
            with _reachable(folder) as path:
                door.connect(path)
        except OSError:
            raise LabError(f"no lab runs in {folder}") from None
        yield door


@contextmanager
def _reachable(folder: Path) -> Iterator[str]:
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{opened}/{NAME}"
    finally:
        with suppress(OSError):
            os.close(opened)
