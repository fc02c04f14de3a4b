"""Every sentence of the web app, once: Python says it with `t`, the browser with `t` of `static/js/index.js`."""

from typing import Any

from .catalogue import ENGLISH


def t(key: str, /, **values: Any) -> str:
    """The words of `key`, with `{name}`s filled in. A number `n` picks between `key` and `key.one`."""
    if values.get("n") == 1 and f"{key}.one" in ENGLISH:
        key = f"{key}.one"
    text = ENGLISH[key]
    for name, value in values.items():
        shown = f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
        text = text.replace("{" + name + "}", shown)
    return text
