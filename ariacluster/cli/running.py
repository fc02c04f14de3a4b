"""How a command runs and ends: an error is a sentence, Ctrl-C is silent, and what the shell sees says why."""

import asyncio
import contextlib
import os
import signal
import sys
import threading
import traceback
from collections.abc import Awaitable, Callable

import typer

from ariacluster.cli.output import ExitCode, Output, exit_code
from ariacluster.domain.errors import AriaClusterError

SIGNALS = {signal.SIGINT: ExitCode.INTERRUPTED, signal.SIGTERM: ExitCode.TERMINATED}


def run_to_its_end(work: Callable[[], Awaitable[int | None]], output: Output, *, debug: bool = False) -> int:
    """The exit code. An expected error is a sentence, an unexpected one is a line, and neither is a traceback."""
    try:
        return asyncio.run(_interruptible(work)) or ExitCode.DONE
    except AriaClusterError as error:
        output.problem(error)
        return exit_code(error)
    except (KeyboardInterrupt, asyncio.CancelledError):
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        # Whoever read the output has seen enough (`| head`). What is still buffered must not fail again at the exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return ExitCode.DONE
    except Exception as error:
        if isinstance(error, typer.BadParameter | typer.Exit | typer.Abort):
            raise  # usage errors and exits are typer's to show
        if debug:
            for line in "".join(traceback.format_exception(error)).splitlines():
                output.say(line, style="dim")
        output.problem(unexpected(error))
        return ExitCode.FAILED


async def _interruptible(work: Callable[[], Awaitable[int | None]]) -> int | None:
    """Ended in order by a signal, so that a live display gives the terminal back as it was.

    The loop is told of a signal between two callbacks. asyncio's own way interrupts one in its midst, which then complains on
    the terminal that its future is cancelled already.
    """
    if threading.current_thread() is not threading.main_thread():
        return await work()
    ended: list[int] = []
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    assert task is not None

    def end(code: int) -> None:
        ended.append(code)
        task.cancel()

    for number, code in SIGNALS.items():
        loop.add_signal_handler(number, end, code)
    try:
        return await work()
    finally:
        if ended:
            # A name that a thread still looks up would hold the end for as long as the network likes.
            for stream in (sys.stdout, sys.stderr):
                with contextlib.suppress(OSError, ValueError):
                    stream.flush()
            os._exit(ended[0])


def unexpected(error: Exception) -> AriaClusterError:
    """A mistake of ours, as one sentence."""
    first = str(error).strip().splitlines()[:1]
    what = ": ".join([type(error).__name__, *first])
    return AriaClusterError(f"ariacluster made a mistake ({what}). Please report it with what --debug adds{_where()}.")


def _where() -> str:
    from importlib.metadata import metadata

    for entry in metadata("ariacluster").get_all("Project-URL", []):
        label, _, url = entry.partition(", ")
        if label.lower() in ("issues", "bug tracker"):
            return f" at {url}"
    return " to the maintainers of Aria Cluster"
