"""The settings of one node: defaults < TOML file < environment (`ARIACLUSTER_*`) < flags. Unknown keys are errors."""

import difflib
import ipaddress
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
import platformdirs

from ariacluster.domain.errors import WrongSettings
from ariacluster.wire.routes import DEFAULT_PORT, DEFAULT_UI_PORT

Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]

ENVIRONMENT = "ARIACLUSTER_"
WORDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "bool": "true or false",
    "array": "a list",
    "object": "a table",
}
"""What people call the shapes that a value may have."""

NOT_SETTINGS = frozenset({"URL", "CONFIG", "PROG"})
"""Variables of ours that are no setting of a node."""


def says(sentence: str) -> msgspec.Meta:
    return msgspec.Meta(description=sentence)


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One field a setting; its sentence is the help text and the comment in `config/node.toml`."""

    name: Annotated[str, says("What people call this node. Default: the host name.")] = ""
    cluster: Annotated[str, says("Only nodes of the same cluster name find each other.")] = "default"
    bind: Annotated[
        str, says("The address to listen on; :: is every one, 127.0.0.1 keeps the node to this machine.")
    ] = "::"
    port: Annotated[Port, says("The port of the API.")] = DEFAULT_PORT
    peer_port: Annotated[int, says("The port of the consensus. Default (0): the API's port + 1.")] = 0
    ui: Annotated[bool, says("Serve the web app.")] = True
    ui_port: Annotated[Port, says("The port of the web app.")] = DEFAULT_UI_PORT
    data: Annotated[str, says("The folder for this node's own memory. Default: the platform's data folder.")] = ""
    dir: Annotated[str, says("The folder for downloads.")] = "~/Downloads/aria-cluster"
    join: Annotated[list[str], says("API addresses (HOST or HOST:PORT) of nodes to join, without multicast.")] = []
    allow_host: Annotated[
        list[str],
        says(
            "Further names that this node is asked by; addresses, names without a dot, *.local, *.lan and the members' names "
            "are known."
        ),
    ] = []
    mdns: Annotated[bool, says("Find other nodes by multicast DNS.")] = True
    tags: Annotated[dict[str, str], says("What tasks may ask of this node, as KEY = VALUE.")] = {}
    slots: Annotated[int, msgspec.Meta(ge=1, le=1000), says("How many downloads run at a time.")] = 5
    witness: Annotated[
        bool, says("Vote, and download nothing: two machines and a witness survive the loss of any one.")
    ] = False
    forget_after: Annotated[
        float,
        msgspec.Meta(ge=60),
        says("Seconds of silence after which a node is taken off the cluster, if the others keep their majority."),
    ] = 604_800.0
    node_timeout: Annotated[
        float, msgspec.Meta(ge=2, le=86400), says("Seconds of silence after which a node's tasks run elsewhere.")
    ] = 20.0
    dht: Annotated[bool, says("Look for BitTorrent peers in the public DHT and on the LAN.")] = True
    aria2c: Annotated[
        str, says("The aria2c program. Default: found on PATH, else the one that was installed along.")
    ] = ""
    log_level: Annotated[Literal["debug", "info", "warning", "error"], says("The least important line to log.")] = (
        "info"
    )
    log_format: Annotated[Literal["text", "json"], says("How log lines are written.")] = "text"

    @property
    def consensus_port(self) -> int:
        return self.peer_port or self.port + 1

    @property
    def data_folder(self) -> Path:
        return Path(self.data or platformdirs.user_data_dir("ariacluster")).expanduser().absolute()

    @property
    def engine(self) -> Path | None:
        return Path(self.aria2c).expanduser() if self.aria2c else None

    @property
    def download_folder(self) -> Path:
        return Path(self.dir).expanduser().absolute()


COMMAND_LINE = "the command line"


class Given(NamedTuple):
    """A setting's value and who gave it, as a part of a sentence."""

    value: Any
    source: str


FIELDS = {field.name: field for field in msgspec.structs.fields(Settings)}


def sentence(name: str) -> str:
    """What a setting is, in one sentence."""
    metas = getattr(Settings.__annotations__[name], "__metadata__", ())
    return next(str(meta.description) for meta in metas if meta.description)


def load(flags: Mapping[str, Any], environment: Mapping[str, str] = os.environ, file: Path | None = None) -> Settings:
    """The settings in force; `WrongSettings` names the key, its source and what to do. Flags that are None were not given."""
    given: dict[str, Given] = {}
    file = file or (Path(environment[f"{ENVIRONMENT}CONFIG"]) if f"{ENVIRONMENT}CONFIG" in environment else None)
    if file is not None:
        given |= _from_file(file)
    given |= _from_environment(environment)
    given |= {key: Given(value, COMMAND_LINE) for key, value in flags.items() if value is not None}
    settings = _convert({key: value for key, (value, _) in given.items()}, COMMAND_LINE)
    if wrong := _wrong(settings):
        key, what = wrong
        source = given[key].source if key in given else given["port"].source
        raise WrongSettings(f"{key} in {source} is wrong: {what}", field=key)
    return msgspec.structs.replace(settings, join=[door(address) for address in settings.join])


def _wrong(settings: Settings) -> tuple[str, str] | None:
    """The first setting that its type alone does not judge, and what is wrong with it. No default is."""
    if not 1 <= settings.consensus_port <= 65535:
        return "peer_port", "The consensus port (peer_port, else port + 1) must be from 1 to 65535."
    if settings.consensus_port == settings.port:
        return "peer_port", "The API and the consensus need two ports; change port or peer_port."
    if not re.fullmatch(r"[\w.-]{1,63}", settings.cluster):
        return "cluster", "A cluster name has 1 to 63 letters, digits, dots, dashes or underscores."
    if len(settings.name) > 63 or not settings.name.isprintable():
        return "name", "A node name has at most 63 printable characters."
    for address in settings.join:
        try:
            door(address)
        except WrongSettings as error:
            return "join", error.detail
    return None


def door(address: str) -> str:
    """`HOST` or `HOST:PORT` as `HOST:PORT`; IPv6 in brackets."""
    host, separator, port = address.rpartition(":")
    if not separator or address.endswith("]"):
        host, port = address, str(DEFAULT_PORT)
    if not _is_host(host) or not re.fullmatch("[0-9]{1,5}", port) or not 1 <= int(port) <= 65535:
        raise WrongSettings(f"{address!r} is no address; write HOST or HOST:PORT, IPv6 as [::1]:8000.", field="join")
    return f"{host}:{port}"


def _is_host(host: str) -> bool:
    if not host.startswith("["):
        return re.fullmatch(r"[\w.-]+", host) is not None
    try:
        ipaddress.IPv6Address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return host.endswith("]")


def _from_file(file: Path) -> dict[str, Given]:
    try:
        values = tomllib.loads(file.read_text())
    except OSError as error:
        raise WrongSettings(f"The config file {file} cannot be read: {error.strerror}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise WrongSettings(f"The config file {file} is not valid TOML: {error}.") from None
    for key in values:
        _known(key, f"the config file {file}")
    _convert(values, f"the config file {file}")
    return {key: Given(value, f"the config file {file}") for key, value in values.items()}


def _from_environment(environment: Mapping[str, str]) -> dict[str, Given]:
    given: dict[str, Given] = {}
    for variable, text in environment.items():
        name = variable.removeprefix(ENVIRONMENT)
        if name == variable or name in NOT_SETTINGS:
            continue
        key = name.lower()
        source = f"the environment variable {variable}"
        _known(key, source)
        given[key] = Given(_from_text(key, text, source), source)
        _convert({key: given[key].value}, source)
    return given


def _from_text(key: str, text: str, source: str) -> Any:
    """Lists are separated by commas, tags are KEY=VALUE; numbers and booleans are read by the shape."""
    match FIELDS[key].default_factory:
        case f if f is list:
            return [part.strip() for part in text.split(",") if part.strip()]
        case f if f is dict:
            pairs = [part.strip().partition("=") for part in text.split(",") if part.strip()]
            if any(not name or not separator for name, separator, _ in pairs):
                raise WrongSettings(f"{key} in {source} is wrong: Write KEY=VALUE,KEY=VALUE.", field=key)
            return {name: value for name, _, value in pairs}
    return text


def _convert(values: Mapping[str, Any], source: str) -> Settings:
    try:
        return msgspec.convert(values, Settings, strict=False)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$")
        field = where.strip("`").lstrip(".") or None
        for shape, words in WORDS.items():
            what = what.replace(f"`{shape}`", words)
        raise WrongSettings(f"{field or 'A setting'} in {source} is wrong: {what.lower()}.", field=field) from None


def _known(key: str, source: str) -> None:
    if key in FIELDS:
        return
    near = difflib.get_close_matches(key, FIELDS, n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]!r}?" if near else f" Known are {', '.join(FIELDS)}."
    raise WrongSettings(f"{source[0].upper()}{source[1:]} sets {key!r}, which is no setting.{hint}", field=key)
