"""What the browser loads from us: Vue components and the modules they share, styles, fonts. Everything is named by its content.

NiceGUI names a file by its path and time of change, which is the same for two versions in an image with clamped times, and lets
browsers keep it for a year.
"""

import hashlib
from pathlib import Path
from typing import Any
from urllib.parse import quote

from nicegui import __version__, app, ui
from nicegui.dependencies import EsmModule, JsComponent, esm_modules, js_components

STATIC = Path(__file__).parent / "static"
SCRIPTS = STATIC / "js"
YEAR = 365 * 24 * 3600


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


VERSION = _digest(STATIC)
URL = f"/ac/{VERSION}"
MODULES = f"/_nicegui/{__version__}/esm/{VERSION}"
MODULE = "ariacluster"
"""What components call the modules that they share: `import {...} from "ariacluster"`."""


class Island(ui.element):
    """An element that a Vue component of ours draws: `class Feed(Island, script="feed")` for `static/js/feed.js`.

    Its data come to the browser once for all in `A` (see `static/js/index.js`); props are for what differs from place to place.
    """

    def __init_subclass__(cls, *, script: str, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.component = component(script)

    def __init__(self, **props: Any) -> None:
        super().__init__(self.component.tag if self.component else None)
        self._props.update(props)


def component(script: str) -> JsComponent:
    """Registers it at the first call."""
    key = f"{VERSION}/{script}.js"
    if key not in js_components:
        path = SCRIPTS / f"{script}.js"
        js_components[key] = JsComponent(key=key, name=f"ac_{script}", path=path)
    return js_components[key]


def register() -> None:
    """Before the first page: the shared modules, and the folder of styles and fonts."""
    if VERSION not in esm_modules:
        esm_modules[VERSION] = EsmModule(name=MODULE, path=SCRIPTS)
    app.add_static_files(URL, STATIC, max_cache_age=YEAR)


def prefix(headers: Any, root_path: str) -> str:
    """What a reverse proxy put before our paths, safe to be written into a page."""
    return quote(headers.get("X-Forwarded-Prefix", ""), safe="/:@!$&'()*+,;=%") + root_path
