"""What of a task is nobody's business: its headers, its passwords, and those in its links. Pure; how a secret is sealed is the
vault's.

In the table a secret stands where it stood when it was submitted, sealed. Where it stands is told here, and what it is called.
"""

import re
from collections.abc import Callable

import msgspec

from .task import TaskSpec

Change = Callable[[str], str]

PASSWORD_OF_THE_LINK = "password of the link"

_LOGIN = re.compile(r"(\b[a-z][a-z0-9+.-]{0,15}://)([^/?#@:\s]*):([^/?#\s]*)@", re.IGNORECASE)
"""The login of a URL with a password, which may hold another @."""

_LOGIN_OF_PROXY = re.compile(r"((?:[a-z]+://)?)([^/?#@:\s]*):([^/?#\s]*)@", re.IGNORECASE)
"""aria2 takes proxies without a scheme, too."""


def names(spec: TaskSpec) -> list[str]:
    """What is kept secret of it, each named once: `header Cookie`, `http-passwd`, `password of the link`."""
    found: list[str] = []

    def note(name: str, secret: str) -> str:
        found.append(name)
        return secret

    _with(spec, note)
    return list(dict.fromkeys(found))


def changed(spec: TaskSpec, change: Change) -> TaskSpec:
    """The same with every secret changed. The very same if it has none."""
    return _with(spec, lambda _, secret: change(secret))


def shown(option: str, value: str) -> str:
    """The value of an option as anybody may see it."""
    return _option(option, value, lambda _, secret: "***")


def scrubbed(text: str) -> str:
    """A sentence without the passwords of the links in it."""
    return _LOGIN.sub(r"\1\2:***@", text) if "@" in text else text


def _with(spec: TaskSpec, change: Callable[[str, str], str]) -> TaskSpec:
    if not (spec.headers or spec.options) and "@" not in "\n".join(spec.urls):
        return spec  # as most are
    urls = tuple(_url(url, change) for url in spec.urls) if any("@" in url for url in spec.urls) else spec.urls
    headers = tuple(_header(header, change) for header in spec.headers)
    options = spec.options
    if any(map(_holds, options)):
        options = {key: _option(key, value, change) for key, value in options.items()}
    if urls == spec.urls and headers == spec.headers and options == spec.options:
        return spec
    return msgspec.structs.replace(spec, urls=urls, headers=headers, options=options)


def _holds(key: str) -> bool:
    return key == "header" or key.endswith(("-passwd", "-proxy"))


def _option(key: str, value: str, change: Callable[[str, str], str]) -> str:
    if key == "header":
        return _header(value, change)
    if key.endswith("-passwd"):
        return change(key, value)
    if key.endswith("-proxy"):
        return _url(value, lambda _, secret: change(f"password of {key}", secret), _LOGIN_OF_PROXY)
    return value


def _header(header: str, change: Callable[[str, str], str]) -> str:
    name, colon, value = header.partition(":")
    return f"{name}: {change(f'header {name}', value.strip())}" if colon else change("header", header)


def _url(url: str, change: Callable[[str, str], str], login: re.Pattern[str] = _LOGIN) -> str:
    found = login.match(url)
    if found is None:
        return url
    scheme, user, password = found.groups()
    return f"{scheme}{user}:{change(PASSWORD_OF_THE_LINK, password)}@{url[found.end() :]}"
