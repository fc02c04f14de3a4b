"""Numbers as a person reads them: decimal units, three digits that matter, never wider than seven characters."""

from datetime import datetime

_SIZES = ("B", "kB", "MB", "GB", "TB", "PB", "EB")
MINUTE, HOUR, DAY = 60, 3_600, 86_400


def size(count: float) -> str:
    """Bytes, e.g. `1.23 GB`."""
    value, unit = _scaled(count)
    return f"{_digits(value, unit)} {unit}"


def speed(per_second: float) -> str:
    """Bytes per second, e.g. `12.3 MB/s`; empty for none."""
    return f"{size(per_second)}/s" if per_second >= 1 else ""


def part(done: int, total: int) -> str:
    """How many bytes of how many, in the unit of the whole: `0.62/1.23 GB`. Only what is there if the whole is unknown."""
    if total <= 0:
        return size(done) if done > 0 else ""
    value, unit = _scaled(total)
    whole = _digits(value, unit)
    decimals = len(whole.partition(".")[2])
    share = done / total * value
    return f"{share:.{decimals}f}/{whole} {unit}"


def percent(share: float) -> str:
    """Rounded down, for 100% is said when it is whole and not before."""
    return f"{int(max(0.0, min(share, 100.0)))}%"


def clock(seconds: float) -> str:
    """A remaining time of at most six characters: `0:05`, `12:34`, `1:02 h`, `3 d`."""
    whole = round(seconds)
    if whole < HOUR:
        return f"{whole // MINUTE}:{whole % MINUTE:02}"
    if whole < DAY:
        return f"{whole // HOUR}:{whole % HOUR // MINUTE:02} h"
    return f"{whole // DAY} d" if whole < 1000 * DAY else "never"


def duration(seconds: float) -> str:
    """`8 s`, `3 min`, `2 h 5 min`, `4 d 3 h`: the two largest units that matter."""
    whole = max(0, int(seconds))
    if whole < MINUTE:
        return f"{whole} s"
    if whole < HOUR:
        return f"{whole // MINUTE} min"
    if whole < DAY:
        minutes = whole % HOUR // MINUTE
        return f"{whole // HOUR} h" + (f" {minutes} min" if minutes else "")
    hours = whole % DAY // HOUR
    return f"{whole // DAY} d" + (f" {hours} h" if hours else "")


def ago(then: datetime, now: datetime) -> str:
    """`3 min ago`. A clock that runs a little ahead says `just now`."""
    seconds = (now - then).total_seconds()
    if seconds < 2:
        return "just now"
    whole = int(seconds)
    if whole >= DAY:
        return f"{whole // DAY} d ago"
    return f"{whole // HOUR} h ago" if whole >= HOUR else f"{duration(whole)} ago"


def count(number: int) -> str:
    return f"{number:,}"


def plural(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _scaled(count: float) -> tuple[float, str]:
    value = float(max(0.0, count))
    for unit in _SIZES:
        # 999.5 would be rounded to a fourth digit: it is said in the next unit.
        if value < 999.5 or unit == _SIZES[-1]:
            return value, unit
        value /= 1000
    raise AssertionError


def _digits(value: float, unit: str) -> str:
    if unit == "B" or value >= 99.95:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"
