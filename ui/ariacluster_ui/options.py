"""What one web app is told when it starts."""

import os
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import platformdirs

from ariacluster.domain.errors import StartFailed
from ariacluster.wire.routes import DEFAULT_PORT, DEFAULT_UI_PORT

LOCAL = f"http://127.0.0.1:{DEFAULT_PORT}"


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """`urls`: the nodes to follow, the first that answers. `hosts`: names under which it may be asked for, besides those that
    nobody outside can own. `with_parent`: end when standard input does."""

    urls: tuple[str, ...] = (LOCAL,)
    host: str = "::"
    port: int = DEFAULT_UI_PORT
    storage: Path = Path()
    hosts: tuple[str, ...] = ()
    with_parent: bool = False


def options(
    urls: list[str] | None, host: str, port: int, storage: str, hosts: list[str] | None, *, with_parent: bool
) -> Options:
    """`StartFailed` says which of it is wrong."""
    for url in urls or []:
        if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
            raise StartFailed(f"{url!r} is no address of a node; write http://HOST:PORT.", field="url")
    if not 0 <= port <= 65535:
        raise StartFailed("A port is a number up to 65535.", field="port")
    return Options(
        urls=tuple(url.rstrip("/") for url in urls or [LOCAL]),
        host=host,
        port=port,
        storage=Path(storage or Path(platformdirs.user_data_dir("ariacluster"), "ui")).expanduser().absolute(),
        hosts=tuple(name.lower() for name in hosts or []),
        with_parent=with_parent,
    )


def settle(storage: Path) -> None:
    """NiceGUI reads this once, when it is imported; without it, it writes to the working folder."""
    os.environ["NICEGUI_STORAGE_PATH"] = str(storage)
