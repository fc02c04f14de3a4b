"""End the aria2c that a killed node left behind, before a new one writes to the same files.

`--stop-with-process` lets it live a second or two more, and for as long as a parent leaves the dead node a zombie.
"""

from pathlib import Path

import msgspec
import psutil
import structlog

log = structlog.get_logger()

GRACE_S = 5.0
"""For saving the control files; then it is killed."""

_CLOCK_STEP_S = 2.0
"""A process's start is told by the wall clock, which may have been set since."""


class _Who(msgspec.Struct, frozen=True):
    """A process, told apart from a later one with the same number."""

    pid: int
    name: str
    started: float

    @classmethod
    def of(cls, process: psutil.Process) -> "_Who":
        return cls(process.pid, process.name(), process.create_time())

    def find(self) -> psutil.Process | None:
        """The process, if it still runs; a zombie does not."""
        try:
            process = psutil.Process(self.pid)
            now = _Who.of(process)
            if process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):
                return None
        except psutil.Error:
            return None
        return process if now.name == self.name and abs(now.started - self.started) < _CLOCK_STEP_S else None


class _Mark(msgspec.Struct, frozen=True):
    engine: _Who
    node: _Who


def remember(data: Path, pid: int) -> None:
    """Note in the node's data folder that `pid` is the engine of this process. Blocks."""
    try:
        mark = _Mark(_Who.of(psutil.Process(pid)), _Who.of(psutil.Process()))
    except psutil.Error:  # it ended at once; whoever waits for it will say so
        return
    path = _path(data)
    fresh = path.with_suffix(".new")
    fresh.write_bytes(msgspec.json.encode(mark))
    fresh.replace(path)


def clear(data: Path) -> None:
    """End the engine that was remembered, unless its node lives: then it is not left over. Blocks up to 10 s."""
    try:
        mark = msgspec.json.decode(_path(data).read_bytes(), type=_Mark)
    except (OSError, msgspec.MsgspecError):
        return
    engine = mark.engine.find()
    if engine is None or mark.node.find() is not None:
        return
    log.warning("engine of a killed node ended", pid=engine.pid)
    try:
        engine.terminate()
        try:
            engine.wait(GRACE_S)
        except psutil.TimeoutExpired:
            engine.kill()
            engine.wait(GRACE_S)
    except psutil.NoSuchProcess:
        return
    except psutil.Error as error:
        log.warning("engine of a killed node stays", pid=engine.pid, error=type(error).__name__)


def _path(data: Path) -> Path:
    return data / "aria2c.pid"
