"""Numbers as a person reads them: decimal units, three digits that matter, never wider than seven characters."""

import re
from datetime import UTC, datetime, timedelta

_SIZES = ("B", "kB", "MB", "GB", "TB", "PB", "EB")
MINUTE, HOUR, DAY = 60, 3_600, 86_400

_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
_SPANS = {"s": 1, "m": MINUTE, "min": MINUTE, "h": HOUR, "d": DAY}


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


def bytes_of(text: str) -> int | None:
    """What a person writes for a number of bytes: `5M`, `2GB`, `500 kB/s`, `1.5GiB`; None if it is none. Decimal, as they are
    shown, but for those with an i."""
    found = re.fullmatch(r"(\d{1,15}(?:\.\d{1,9})?)\s*([kmgtp]?)(i?)b?(?:/s)?", text.strip(), re.IGNORECASE | re.ASCII)
    if found is None or (found[3] and not found[2]):
        return None
    size: float = float(found[1]) * (1024 if found[3] else 1000) ** _POWERS[found[2].lower()]
    return round(size)


def seconds_of(text: str) -> float | None:
    """What a person writes for a time: `90`, `90s`, `10m`, `1h30m`, `2d`; None if it is none."""
    if re.fullmatch(r"\d{1,9}(?:\.\d{1,3})?", text, re.ASCII):
        return float(text)
    parts = re.findall(r"(\d{1,9})(min|[smhd])", text, re.ASCII)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return None
    return float(sum(int(number) * _SPANS[unit] for number, unit in parts))


def time_of(text: str, now: datetime) -> datetime | None:
    """What a person writes for a time to come: `2026-12-24 18:00` (here, unless it has an offset), `18:00` (the next one), `2h`
    (from now); None if it is none."""
    try:
        if not text.isdigit() and (seconds := seconds_of(text)) is not None:
            return (now + timedelta(seconds=seconds)).astimezone(UTC)
        if clock := re.fullmatch(r"(\d{1,2}):(\d{2})", text, re.ASCII):
            here = now.astimezone()
            then = here.replace(hour=int(clock[1]), minute=int(clock[2]), second=0, microsecond=0)
            return (then if then > here else then + timedelta(days=1)).astimezone(UTC)
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


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
