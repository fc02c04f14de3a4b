"""What a watcher sees: moving bars on a terminal, a line for each change in a pipe, a JSON object for each in a script."""

import time
from collections.abc import Sequence
from types import TracebackType

from rich.cells import cell_len
from rich.live import Live
from rich.text import Text

from ariacluster.cli import units
from ariacluster.cli.grid import hang
from ariacluster.cli.looks import TASK, UNKNOWN, bar, pulse, task_state
from ariacluster.cli.output import Kind, Output
from ariacluster.cli.plain import elide, plain
from ariacluster.cli.task_view import why
from ariacluster.cli.watching import ENDS, View, Watch
from ariacluster.wire.resources import TaskResource

SMOOTHING = 0.25
"""Weight of the newest speed in the one that the remaining time is reckoned from: aria2's own jumps too much for that."""

NAME_LEAST, BAR_LEAST, BAR_MOST = 12, 8, 32
ENDED_NAME, ENDED_NODE = 60, 20
"""Cells for the name of what has ended, and for the node with what stands around it."""

ORDER = {"downloading": 0, "queued": 1, "paused": 2, "pending": 3}


def view_for(output: Output) -> View:
    """The one that suits the reader."""
    if output.live:
        return LiveView(output)
    return LinesView(output) if output.for_people else RecordsView(output)


class RecordsView:
    """For scripts: with ndjson each change as it comes, with json nothing before the end."""

    def __init__(self, output: Output) -> None:
        self._output = output

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass

    def changed(self, task: TaskResource) -> None:
        if self._output.kind is Kind.NDJSON:
            self._output.record(task)

    def gone(self, task: TaskResource) -> None:
        pass

    def draw(self, watch: Watch, trouble: str) -> None:
        pass


class LinesView(RecordsView):
    """For pipes and logs: one line for each change, nothing ever drawn over."""

    def __init__(self, output: Output) -> None:
        super().__init__(output)
        self._trouble = ""

    def changed(self, task: TaskResource) -> None:
        cell = task_state(task.status)
        line = Text.assemble((task.id, "dim"), "  ", (f"{cell.text:<13}", cell.style), "  ", plain(task.name))
        more = detail(task)
        self._output.sentence(line.append(f"  {plain(more)}", style="dim") if more else line)

    def gone(self, task: TaskResource) -> None:
        self._output.sentence(Text(f"{task.id}  - gone         {plain(task.name)}  taken off the list"))

    def draw(self, watch: Watch, trouble: str) -> None:
        if bool(trouble) != bool(self._trouble):
            self._output.note(f"reconnecting… {trouble}" if trouble else "connected again")
        self._trouble = trouble


class LiveView:
    """For a terminal: what has ended scrolls up as a line, what has not is a block below that is drawn over and over."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._live = Live(
            console=output.console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
            vertical_overflow="crop",
        )
        self._pace: dict[str, float] = {}
        self._began = time.monotonic()
        self._beat = 0
        self._last: Watch | None = None

    def __enter__(self) -> None:
        self._live.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()
        if kind is None and self._last is not None and len(self._last.tasks) > 1:
            self._output.sentence(_summary(self._last, time.monotonic() - self._began))

    def changed(self, task: TaskResource) -> None:
        if task.status in ENDS:
            self._pace.pop(task.id, None)
            self._output.lines(ended(task, self._output.width))

    def gone(self, task: TaskResource) -> None:
        look = TASK["canceled"]
        name = elide(task.name, self._output.width // 2)
        self._output.sentence(Text.assemble((look.symbol, look.style), f" {name}  ", ("taken off the list", "dim")))

    def draw(self, watch: Watch, trouble: str) -> None:
        self._last = watch
        self._beat += 1
        for task in watch.unfinished:
            before = self._pace.get(task.id, float(task.download_speed))
            self._pace[task.id] = before + SMOOTHING * (task.download_speed - before)
        size = self._output.console.size
        lines = block(watch, self._pace, size.width, size.height, self._beat, trouble)
        self._live.update(Text("\n").join(lines), refresh=True)


def block(watch: Watch, pace: dict[str, float], width: int, height: int, beat: int, trouble: str = "") -> list[Text]:
    """The part that is drawn over: a line for each unfinished task as far as there is room, and one for all of them."""
    tasks = sorted(watch.unfinished, key=lambda task: ORDER.get(task.status, 0))
    room = max(3, height - 4)
    shown = tasks if len(tasks) <= room else tasks[: room - 1]
    lines = rows(shown, pace, width, beat)
    if len(tasks) > len(shown):
        lines.append(Text(f"  … and {units.count(len(tasks) - len(shown))} more", style="dim"))
    if trouble:
        # A dot more with every beat: it is being tried.
        waiting = f"↻ reconnecting{'.' * (beat % 4):<3}  "
        lines.append(
            Text(waiting, style="bold yellow").append(elide(trouble, width - len(waiting) - 1), style="yellow")
        )
    elif len(watch.tasks) > 1 and tasks:
        lines.append(_total(watch, tasks, pace, width))
    return lines


def ended(task: TaskResource, width: int) -> list[Text]:
    """The line that stays: what became of the task."""
    look = TASK.get(task.status, UNKNOWN)
    if task.status == "completed":
        took = units.duration((task.updated_at - task.created_at).total_seconds())
        facts = f"  {units.size(task.total_bytes):>7}  {took:>10}"
        room = min(ENDED_NAME, max(NAME_LEAST, width - len(facts) - ENDED_NODE))
        name = elide(task.name, room)
        line = Text.assemble((f"{look.symbol} ", look.style), name + " " * (room - cell_len(name)), (facts, "dim"))
        if task.worker_name:
            line.append(f"  {elide(task.worker_name, ENDED_NODE - 5)}", style="dim")
        line.truncate(width)
        return [line]
    head = Text.assemble((f"{look.symbol} ", look.style), elide(task.name, max(NAME_LEAST, width * 2 // 5)), "  ")
    return hang(head, Text(plain(why(task) or task.status), style=look.style), width)


def rows(tasks: Sequence[TaskResource], pace: dict[str, float], width: int, beat: int) -> list[Text]:
    """A line for each, of less than `width` cells. `pace`: the speed that its remaining time is reckoned from."""
    gap = "  " if width >= 100 else " "
    widths = [4, 12, 10, 6, min(12, max([len(plain(task.worker_name or "")) for task in tasks], default=0))]
    kept = [0, 1, 2, 3, 4] if widths[4] else [0, 1, 2, 3]
    names = max([cell_len(plain(task.name)) for task in tasks], default=NAME_LEAST)
    # What goes first where there is little room: the node, the bytes, the remaining time, the speed.
    for column in (4, 1, 3, 2, 0):
        left = width - 3 - sum(widths[i] + len(gap) for i in kept) - len(gap)
        if left >= NAME_LEAST + BAR_LEAST:
            break
        if column in kept:
            kept.remove(column)
    left = max(NAME_LEAST, width - 3 - sum(widths[i] + len(gap) for i in kept) - len(gap))
    name_width = max(NAME_LEAST, min(names, left - max(BAR_LEAST, left * 2 // 5)))
    bar_width = max(0, min(BAR_MOST, left - name_width))
    lines = []
    for task in tasks:
        look = TASK.get(task.status, UNKNOWN)
        name = elide(task.name, name_width)
        line = Text(f"{look.symbol} ", style=look.style, no_wrap=True, end="")
        line.append(name + " " * (name_width - cell_len(name)) + gap, style="default")
        if task.status == "downloading":
            line.append_text(_bar(task, bar_width, beat))
            cells = _numbers(task, pace.get(task.id, 0.0))
            for column in kept:
                text, style = cells[column]
                text = elide(text, widths[column])
                pad = " " * (widths[column] - cell_len(text))
                line.append(gap + (text if column == 4 else pad + text), style=style)
        else:
            room = width - 4 - name_width - len(gap)
            line.append(elide(detail(task) or task.status, room), style="dim" if task.status != "paused" else "yellow")
        line.truncate(width - 1)
        lines.append(line)
    return lines


def _bar(task: TaskResource, width: int, beat: int) -> Text:
    return bar(task.progress / 100, width) if task.total_bytes else pulse(beat, width)


def _numbers(task: TaskResource, pace: float) -> list[tuple[str, str]]:
    """Percent, bytes, speed, remaining time, node; each with its style."""
    left = task.total_bytes - task.completed_bytes
    return [
        (units.percent(task.progress) if task.total_bytes else "", "bold"),
        (units.part(task.completed_bytes, task.total_bytes), "default"),
        (units.speed(task.download_speed), "cyan"),
        (units.clock(left / pace) if task.total_bytes and pace >= 1 else "", "default"),
        (task.worker_name or "", "dim"),
    ]


def _total(watch: Watch, unfinished: Sequence[TaskResource], pace: dict[str, float], width: int) -> Text:
    everything = watch.tasks.values()
    failed = sum(task.status == "failed" for task in everything)
    speed = sum(task.download_speed for task in unfinished)
    known = all(task.total_bytes for task in unfinished)
    left = sum(task.total_bytes - task.completed_bytes for task in unfinished)
    smooth = sum(pace.get(task.id, 0.0) for task in unfinished)
    done = sum(task.completed_bytes for task in everything)
    line = Text("  ", no_wrap=True, end="")
    line.append(
        f"{units.count(len(everything) - len(unfinished))} of {units.count(len(everything))} done", style="bold"
    )
    if failed:
        line.append("  ").append(f"✗ {units.count(failed)} failed", style="red")
    if done:
        whole = sum(task.total_bytes or task.completed_bytes for task in everything)
        line.append(f"  {units.part(done, whole) if known else units.size(done)}")
    if speed:
        line.append(f"  {units.speed(speed)}", style="cyan")
    if known and smooth >= 1:
        line.append(f"  {units.clock(left / smooth)} left")
    line.truncate(width - 1)
    return line


def _summary(watch: Watch, seconds: float) -> Text:
    states = [task.status for task in watch.tasks.values() if task.id not in watch.gone]
    text = Text(units.plural(len(watch.tasks), "task"), style="bold").append(": ", style="bold")
    parts = []
    for state in ("completed", "failed", "canceled", "paused"):
        if number := states.count(state):
            parts.append(Text(f"{units.count(number)} {state}", style=TASK[state].style))
    if watch.gone:
        parts.append(Text(f"{units.count(len(watch.gone))} taken off the list", style=TASK["canceled"].style))
    text.append_text(Text(", ").join(parts))
    done = sum(task.total_bytes for task in watch.tasks.values() if task.status == "completed")
    return text.append(f"  {units.size(done)} in {units.duration(seconds)}", style="dim")


def detail(task: TaskResource) -> str:
    """Where it is and why, in a few words."""
    if task.status == "completed":
        return f"{units.size(task.total_bytes)}" + (f" on {task.worker_name}" if task.worker_name else "")
    where = f"on {task.worker_name}" if task.worker_name and task.status in ("queued", "downloading") else ""
    reason = why(task)
    if where:
        # The dispatcher's reason begins with the name of the node that it chose.
        reason = reason.removeprefix(f"{task.worker_name}: ")
    return ": ".join(text for text in (where, reason) if text)
