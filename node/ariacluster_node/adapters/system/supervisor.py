"""What started this node and wants to know how it fares. Source: sd_notify(3), sd_watchdog_enabled(3)."""

import asyncio
import contextlib
import os
import socket
from collections.abc import MutableMapping

import structlog

log = structlog.get_logger()

TICK = 2
"""How often it says that it lives within the time after which it is taken for dead."""


class Supervisor:
    """Tells systemd; says nothing where it was not systemd that started this process. Its children shall not speak for it."""

    def __init__(self, environment: MutableMapping[str, str] = os.environ) -> None:
        self._door = environment.pop("NOTIFY_SOCKET", "")
        ours = environment.pop("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        patience = environment.pop("WATCHDOG_USEC", "")
        self._patience = int(patience) / 1_000_000 if ours and patience.isdecimal() else 0.0

    def ready(self) -> None:
        """The node serves; whether it has found its cluster is another question."""
        self._tell("READY=1")

    def status(self, sentence: str) -> None:
        """How it is, for people: one line."""
        self._tell(f"STATUS={sentence}")

    def stopping(self) -> None:
        self._tell("STOPPING=1")

    async def run(self) -> None:
        """Until cancelled: say that the loop turns, if anybody wants to know."""
        while self._door and self._patience:
            self._tell("WATCHDOG=1")
            await asyncio.sleep(self._patience / TICK)

    def _tell(self, what: str) -> None:
        if not self._door:
            return
        address = f"\0{self._door[1:]}" if self._door.startswith("@") else self._door
        with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)) as sender:
            sender.setblocking(False)
            try:
                sender.sendto(what.encode(), address)
            except OSError as error:  # it may be gone, or be busy: nothing that a node should end for
                log.debug("the supervisor does not hear", told=what, reason=str(error))
