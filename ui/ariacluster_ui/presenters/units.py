"""Numbers as people read them; `static/js/format.js` says them in the same words, and a test holds both equal."""

import re

_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}

_SIZES = ("B", "KB", "MB", "GB", "TB", "PB")


def size(count: float) -> str:
    """Bytes in decimal units, three digits: `1.23 GB`."""
    value = float(max(0.0, count))
    for unit in _SIZES:
        if value < 999.5 or unit == _SIZES[-1]:
            break
        value /= 1000
    return f"{_digits(value, unit)} {unit}"


def speed(per_second: float) -> str:
    return f"{size(per_second)}/s" if per_second >= 1 else "0"


def duration(seconds: float) -> str:
    """`8 s`, `3m 05s`, `2h 05m`, `4 days`: at most two units."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02}s"
    if whole < 86_400:
        return f"{whole // 3600}h {whole % 3600 // 60:02}m"
    days = whole // 86_400
    return "1 day" if days == 1 else f"{days:,} days"


def bytes_of(text: str) -> int | None:
    """What a person writes for bytes or bytes per second: `5M`, `2 GB`, `500 KB/s`, `1.5GiB`; None if it is none."""
    found = re.fullmatch(r"(\d{1,15}(?:\.\d{1,9})?)\s*([kmgtp]?)(i?)b?(?:/s)?", text.strip(), re.IGNORECASE | re.ASCII)
    if found is None or (found[3] and not found[2]):
        return None
    amount: float = float(found[1]) * (1024 if found[3] else 1000) ** _POWERS[found[2].lower()]
    return round(amount)


def seconds_of(text: str) -> float | None:
    """What a person writes for a time: `90`, `90 s`, `10 min`, `1h 30m`, `7 days`; None if it is none."""
    joined = re.sub(r"\s+", "", text.lower())
    if re.fullmatch(r"\d{1,9}(?:\.\d{1,3})?", joined, re.ASCII):
        return float(joined)
    parts = re.findall(r"(\d{1,9}(?:\.\d{1,3})?)(seconds?|minutes?|hours?|days?|min|[smhd])", joined, re.ASCII)
    if not parts or "".join(number + unit for number, unit in parts) != joined:
        return None
    return sum(float(number) * {"s": 1, "m": 60, "h": 3600, "d": 86_400}[unit[0]] for number, unit in parts)


def span(seconds: float) -> str:
    """A time as a setting is written, and read by `seconds_of`: `20 s`, `10 min`, `7 days`."""
    for unit, name in ((86_400, "day"), (3600, "h"), (60, "min")):
        if seconds >= unit and seconds % unit == 0:
            count = int(seconds // unit)
            return f"{count} {name}s" if name == "day" and count != 1 else f"{count} {name}"
    return f"{seconds:g} s"


def plain_size(count: int) -> str:
    """A size as a setting is written: nothing is rounded away; empty for none."""
    for power, unit in ((4, "TB"), (3, "GB"), (2, "MB"), (1, "KB")):
        if count and count % 1000**power == 0:
            return f"{count // 1000**power} {unit}"
    return f"{count} B" if count else ""


def _digits(value: float, unit: str) -> str:
    if unit == "B" or value >= 99.95:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"
