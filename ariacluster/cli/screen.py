"""The whole terminal for a while, drawn over and over, until `q` or Ctrl-C gives it back as it was."""

import asyncio
import contextlib
import os
import signal
import sys
import termios
import threading
import tty
from collections.abc import Callable, Coroutine, Iterator, Sequence

from rich.live import Live
from rich.text import Text

from ariacluster.cli.output import Output

BEAT = 0.5
"""Seconds between two drawings where nothing new is heard: bars of unknown length move, clocks run."""

QUIT = frozenset(b"qQ")
ESCAPE = b"\x1b"
"""Keys that end it: q, and Escape alone, for arrows and the like begin with it."""

FAREWELL = "The downloads go on without this window."

Draw = Callable[[int, int], Sequence[Text]]
"""Makes the lines for so many columns and rows."""

Feed = Callable[[asyncio.Event], Coroutine[None, None, None]]
"""Hears what is new, and sets the event when there is something to draw."""


async def show(output: Output, draw: Draw, feed: Feed) -> None:
    """Draw what `feed` keeps up to date. Ends with a key, with `feed`, or with Ctrl-C."""
    changed = asyncio.Event()
    live = Live(console=output.console, screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False)
    feeding = asyncio.ensure_future(feed(changed))
    over = asyncio.Event()
    try:
        with _keys(over, changed), _resizes(changed), live:
            while not over.is_set() and not feeding.done():
                changed.clear()
                size = output.console.size
                lines = list(draw(size.width, size.height))[: size.height]
                for line in lines:
                    line.truncate(size.width)
                live.update(Text("\n").join(lines), refresh=True)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(BEAT):
                        await changed.wait()
    finally:
        feeding.cancel()
        await asyncio.wait({feeding})
        output.say(FAREWELL)
    if not feeding.cancelled() and (error := feeding.exception()):
        raise error


@contextlib.contextmanager
def _keys(over: asyncio.Event, changed: asyncio.Event) -> Iterator[None]:
    """Hear single keys, and show none of them."""
    if not sys.stdin.isatty():
        yield
        return
    stdin, loop = sys.stdin.fileno(), asyncio.get_running_loop()

    def take() -> None:
        keys = os.read(stdin, 64)
        if not keys:
            loop.remove_reader(stdin)  # nobody is at the keys any more
        elif keys == ESCAPE or set(keys) & QUIT:
            over.set()
            changed.set()

    before = termios.tcgetattr(stdin)
    tty.setcbreak(stdin)  # Ctrl-C goes on being a signal
    loop.add_reader(stdin, take)
    try:
        yield
    finally:
        loop.remove_reader(stdin)
        termios.tcsetattr(stdin, termios.TCSADRAIN, before)


@contextlib.contextmanager
def _resizes(changed: asyncio.Event) -> Iterator[None]:
    """A window of another size is drawn anew at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGWINCH, changed.set)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGWINCH)
