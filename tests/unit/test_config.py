import re
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ariacluster.domain.errors import StartFailed
from ariacluster_node import config

EXAMPLE = Path(__file__).parents[2] / "config" / "node.toml"


def in_file(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "node.toml"
    file.write_text(text)
    return file


def refused(*args: Any, **kwargs: Any) -> StartFailed:
    with pytest.raises(StartFailed) as caught:
        config.load(*args, **kwargs)
    return caught.value


def test_nothing_given_is_the_defaults() -> None:
    settings = config.load({"slots": None}, {"PATH": "/bin", "HOME": "/"})
    assert settings == config.Settings()
    assert (settings.port, settings.consensus_port, settings.slots) == (8000, 8001, 5)
    assert settings.data_folder.is_absolute()
    assert settings.download_folder.is_absolute()


def test_a_flag_beats_the_environment_which_beats_the_file_which_beats_the_default(tmp_path: Path) -> None:
    file = in_file(tmp_path, 'name = "file"\nslots = 2\nport = 9000\n')
    environment = {"ARIACLUSTER_NAME": "environment", "ARIACLUSTER_SLOTS": "3"}
    settings = config.load({"name": "flag", "slots": None}, environment, file)
    assert (settings.name, settings.slots, settings.port, settings.bind) == ("flag", 3, 9000, "::")


def test_the_environment_may_name_the_file_and_a_flag_another_one(tmp_path: Path) -> None:
    environment = {"ARIACLUSTER_CONFIG": str(in_file(tmp_path, "slots = 2"))}
    assert config.load({}, environment).slots == 2
    (tmp_path / "other.toml").write_text("slots = 3")
    assert config.load({}, environment, tmp_path / "other.toml").slots == 3


def test_variables_of_the_other_programs_are_no_settings() -> None:
    assert config.load({}, {"ARIACLUSTER_URL": "http://x", "ARIACLUSTER_PROG": "x"}) == config.Settings()


def test_the_environment_has_text_for_every_shape() -> None:
    environment = {
        "ARIACLUSTER_JOIN": "one, two:9000,",
        "ARIACLUSTER_TAGS": "place=attic, query=a=b",
        "ARIACLUSTER_MDNS": "false",
        "ARIACLUSTER_NODE_TIMEOUT": "7.5",
        "ARIACLUSTER_LOG_FORMAT": "json",
    }
    settings = config.load({}, environment)
    assert settings.join == ["one:8000", "two:9000"]
    assert settings.tags == {"place": "attic", "query": "a=b"}
    assert (settings.mdns, settings.node_timeout, settings.log_format) == (False, 7.5, "json")


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("slots = 0", "slots"),
        ("slots = true", "slots"),
        ('port = "many"', "port"),
        ("port = 70000", "port"),
        ("node_timeout = 1", "node_timeout"),
        ('log_level = "loud"', "log_level"),
        ('join = "one"', "join"),
        ('join = ["a b"]', "join"),
        ('cluster = "two words"', "cluster"),
        ('cluster = ""', "cluster"),
        (f'name = "{"x" * 64}"', "name"),
        ('name = "a\\tb"', "name"),
        ("peer_port = 8000", "peer_port"),
        ("peer_port = -1", "peer_port"),
        ("peer_port = 65536", "peer_port"),
    ],
)
def test_a_wrong_value_in_the_file_names_the_key_and_the_file(tmp_path: Path, text: str, key: str) -> None:
    file = in_file(tmp_path, text)
    error = refused({}, {}, file)
    assert error.field == key
    assert error.detail.startswith(f"{key} in the config file {file} is wrong: ")


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("SLOTS", ""),
        ("SLOTS", "many"),
        ("MDNS", "perhaps"),
        ("TAGS", "attic"),
        ("TAGS", "=attic"),
        ("JOIN", "one:0"),
        ("CLUSTER", "a/b"),
        ("PEER_PORT", "8000"),
    ],
)
def test_a_wrong_value_in_the_environment_names_the_variable(variable: str, text: str) -> None:
    key = variable.lower()
    error = refused({}, {f"ARIACLUSTER_{variable}": text})
    assert error.field == key
    assert error.detail.startswith(f"{key} in the environment variable ARIACLUSTER_{variable} is wrong: ")


@pytest.mark.parametrize(
    ("key", "value"), [("slots", 0), ("port", 0), ("cluster", "é!"), ("join", ["x:y"]), ("peer_port", 8000)]
)
def test_a_wrong_flag_names_the_command_line(key: str, value: object) -> None:
    error = refused({key: value}, {"ARIACLUSTER_SLOTS": "3"})
    assert error.field == key
    assert error.detail.startswith(f"{key} in the command line is wrong: ")


def test_the_consensus_port_follows_the_port_and_its_error_names_who_set_that() -> None:
    error = refused({}, {"ARIACLUSTER_PORT": "65535"})
    assert error.field == "peer_port"
    assert "ARIACLUSTER_PORT" in error.detail
    assert config.load({"peer_port": 9000}, {"ARIACLUSTER_PORT": "65535"}).consensus_port == 9000


@pytest.mark.parametrize(("key", "near"), [("slot", "slots"), ("peerport", "peer_port"), ("log-level", "log_level")])
def test_an_unknown_key_names_the_nearest_known_one(tmp_path: Path, key: str, near: str) -> None:
    file = in_file(tmp_path, f"{key} = 1")
    error = refused({}, {}, file)
    assert error.detail == f"The config file {file} sets {key!r}, which is no setting. Did you mean {near!r}?"
    assert error.field == key


def test_an_unknown_variable_is_an_error_and_a_strange_one_lists_all() -> None:
    error = refused({}, {"ARIACLUSTER_ZZZZZZ": "1"})
    assert error.detail.startswith("The environment variable ARIACLUSTER_ZZZZZZ sets 'zzzzzz', which is no setting.")
    assert all(name in error.detail for name in config.FIELDS)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "none.toml"
    assert str(missing) in refused({}, {}, missing).detail
    broken = in_file(tmp_path, "slots = ")
    assert f"{broken} is not valid TOML" in refused({}, {}, broken).detail
    broken.write_bytes(b"name = '\xff'")
    assert f"{broken} is not valid TOML" in refused({}, {}, broken).detail


@pytest.mark.parametrize(
    ("address", "whole"),
    [
        ("nas", "nas:8000"),
        ("nas.lan:9000", "nas.lan:9000"),
        ("10.0.0.7", "10.0.0.7:8000"),
        ("[::1]", "[::1]:8000"),
        ("[fe80::1%eth0]:9000", "[fe80::1%eth0]:9000"),
    ],
)
def test_a_door_is_a_host_and_a_port(address: str, whole: str) -> None:
    assert config.door(address) == whole


@pytest.mark.parametrize(
    "address",
    [
        "",
        ":8000",
        "nas:",
        "nas:0",
        "nas:65536",
        "nas:²",
        "nas:-1",
        "http://nas",
        "a b",
        "a/b",
        "u@nas",
        "::1",
        "fe80::1:8000",
        "[::1",
        "::1]",
        "[nas]",
        "[]:80",
        "[::1]x:80",
    ],
)
def test_what_is_no_door_is_refused_with_what_to_write(address: str) -> None:
    with pytest.raises(StartFailed, match="HOST:PORT") as caught:
        config.door(address)
    assert repr(address) in caught.value.detail
    assert caught.value.field == "join"


def test_every_setting_has_its_sentence() -> None:
    for name in config.FIELDS:
        assert re.fullmatch(r"[A-Z].*\.", config.sentence(name)), name


def test_the_example_is_the_defaults_as_it_is() -> None:
    assert config.load({}, {}, EXAMPLE) == config.Settings()


def test_every_setting_stands_in_the_example_with_its_default_and_its_sentence() -> None:
    lines = EXAMPLE.read_text().splitlines()
    shown = {match[1]: at for at, line in enumerate(lines) if (match := re.match(r"# ([a-z0-9_]+) = ", line))}
    assert list(shown) == list(config.FIELDS), "every setting once, in the order of the code"
    values = tomllib.loads("\n".join(lines[at].removeprefix("# ") for at in shown.values()))
    assert msgspec.convert(values, config.Settings) == config.Settings()
    assert values == msgspec.to_builtins(config.Settings())
    for name, at in shown.items():
        paragraph = [line.removeprefix("# ") for line in lines[_begins(lines, at) : at]]
        assert " ".join(paragraph) == config.sentence(name)


def _begins(lines: list[str], at: int) -> int:
    """Where the paragraph of that line begins."""
    while lines[at - 1].strip():
        at -= 1
    return at
