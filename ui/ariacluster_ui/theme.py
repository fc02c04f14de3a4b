"""The head of every page: styles, icons, words, and light or dark before anything is painted."""

import hashlib
import json
from functools import cache

from .assets import MODULES, STATIC, URL
from .catalogue import ENGLISH

SHEETS = ("ac", "dashboard", "nodes", "rooms", "tasks", "task", "add")
"""Style sheets: the frame and what all share; a page or two in each of the others."""

SHARED = ("index.js", "format.js", "icon.js", "menu.js")
"""Modules that every page needs: fetched while the page is still read."""

_BEFORE_PAINT = """
(() => {
  let choice = "auto";
  try { choice = localStorage.getItem("ac-theme") || "auto"; } catch {}
  window.AC_THEME = choice;
  const dark = choice === "dark" || (choice === "auto" && matchMedia("(prefers-color-scheme: dark)").matches);
  document.documentElement.dataset.theme = dark ? "dark" : "light";
})();
"""


def head_html(prefix: str) -> str:
    """`prefix`: what a reverse proxy put before our paths, safe to be written into a page."""
    font = f"{prefix}{URL}/fonts/inter-latin-wght-normal.woff2"
    ask = f"window.AC_BOOT = fetch({json.dumps(prefix + '/ui/boot')}, {{cache: 'no-store'}}).catch(() => null);"
    return (
        "".join(f'<link rel="modulepreload" href="{prefix}{MODULES}/{name}">' for name in SHARED)
        + "".join(f'<link rel="stylesheet" href="{prefix}{URL}/{sheet}.css">' for sheet in SHEETS)
        + f'<link rel="preload" as="font" type="font/woff2" crossorigin href="{font}">'
        f'<link rel="manifest" href="{prefix}/manifest.webmanifest">'
        '<meta name="theme-color" media="(prefers-color-scheme: light)" content="#f5f6fa">'
        '<meta name="theme-color" media="(prefers-color-scheme: dark)" content="#0c0f16">'
        f"<script>{_BEFORE_PAINT}{ask}</script>"
        f'<script src="{prefix}{WORDS_URL}"></script>'
    )


@cache
def body_html() -> str:
    return (STATIC / "icons.svg").read_text()


def words_js() -> str:
    """The catalogue for the browser, which keeps it: it is half as large as a page."""
    return f"window.AC_WORDS = {json.dumps(ENGLISH, ensure_ascii=False, separators=(',', ':'))};"


WORDS_URL = f"/ui/words/{hashlib.sha256(words_js().encode()).hexdigest()[:12]}.js"
"""Named by its content, so that it may be kept for ever."""


def manifest(prefix: str) -> str:
    icon = {"src": f"{prefix}{URL}/icon.svg", "sizes": "any", "type": "image/svg+xml", "purpose": "any"}
    return json.dumps(
        {
            "name": "Aria Cluster",
            "short_name": "Aria Cluster",
            "start_url": f"{prefix}/",
            "scope": f"{prefix}/",
            "display": "standalone",
            "background_color": "#0c0f16",
            "theme_color": "#4356d6",
            "icons": [icon],
        }
    )
