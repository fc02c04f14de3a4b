"""Which node to talk to: the one that was told, else the one the environment names, else the one on this machine."""

import asyncio
from collections.abc import Mapping
from ipaddress import IPv6Address
from urllib.parse import urlsplit

from ariacluster.domain.errors import InvalidInput
from ariacluster.wire import routes

ENVIRONMENT = "ARIACLUSTER_URL"
LOCAL = f"http://127.0.0.1:{routes.DEFAULT_PORT}"


KNOCK = 1.0
"""Seconds for a connection that is only tried: over a LAN it takes milliseconds."""


def locate(told: str | None, environ: Mapping[str, str]) -> str:
    """The base URL of a node, without a slash at its end. `InvalidInput` if what was told is no address."""
    return named(told, environ) or LOCAL


def named(told: str | None, environ: Mapping[str, str]) -> str | None:
    """As `locate`, None if nobody has named one."""
    if told is not None:
        return normalise(told, field="--url")
    if environ.get(ENVIRONMENT):
        return normalise(environ[ENVIRONMENT], field=ENVIRONMENT)
    return None


async def is_open(url: str) -> bool:
    """Does anything take a connection there?"""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        async with asyncio.timeout(KNOCK):
            _, writer = await asyncio.open_connection(parts.hostname, port)
    except (OSError, TimeoutError, ValueError):
        return False
    writer.close()
    return True


def normalise(address: str, *, field: str) -> str:
    """`nas`, `nas:8000`, `[fe80::1]:8000`, `::1` and whole URLs as a base URL; the scheme and port of a node where missing.

    A URL with a scheme keeps its own idea of the port: http://nas means port 80, for a node may stand behind a proxy.
    """
    text = address.strip()
    given = "://" in text
    if not given and _is_ipv6(text):
        text = f"[{text}]"
    try:
        parts = urlsplit(text if given else f"http://{text}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port, parts = None, None, urlsplit("")
    if (
        not host
        or not text.isprintable()
        or " " in text
        or parts.scheme not in ("http", "https")
        or parts.query
        or parts.fragment
        or port == 0
    ):
        raise InvalidInput("Give the address of a node, e.g. http://nas:8000 or nas:8000.", field=field)
    netloc = parts.netloc
    if not given and port is None:
        netloc = f"{netloc.rstrip(':')}:{routes.DEFAULT_PORT}"
    return f"{parts.scheme}://{netloc}{parts.path.rstrip('/')}"


def _is_ipv6(text: str) -> bool:
    try:
        IPv6Address(text)
    except ValueError:
        return False
    return True
