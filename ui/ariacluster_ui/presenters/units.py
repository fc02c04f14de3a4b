"""Numbers as people read them; `static/js/format.js` says them in the same words, and a test holds both equal."""

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


def _digits(value: float, unit: str) -> str:
    if unit == "B" or value >= 99.95:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"
