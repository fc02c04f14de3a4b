"""`ariacluster up` has a flag for every setting, with the setting's own sentence, and each passes on what it was told."""

import os
import re
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import typer

from ariacluster_node import config, logs, main
from ariacluster_node.config import Settings

OTHERWISE = {"tags": "tag"}
"""Flags that are not called as their setting is: one of many is given at a time."""

TOLD: dict[str, tuple[list[str], Any]] = {
    "name": (["--name", "nas"], "nas"),
    "cluster": (["--cluster", "home"], "home"),
    "bind": (["--bind", "127.0.0.1"], "127.0.0.1"),
    "port": (["--port", "9000"], 9000),
    "peer_port": (["--peer-port", "9100"], 9100),
    "ui": (["--no-ui"], False),
    "ui_port": (["--ui-port", "9200"], 9200),
    "data": (["--data", "/x"], "/x"),
    "dir": (["--dir", "/y"], "/y"),
    "allow_host": (["--allow-host", "nas.example.org"], ["nas.example.org"]),
    "join": (["--join", "a", "--join", "b:9"], ["a:8000", "b:9"]),
    "mdns": (["--no-mdns"], False),
    "tags": (["--tag", "place=attic", "--tag", "disk=ssd"], {"place": "attic", "disk": "ssd"}),
    "slots": (["--slots", "8"], 8),
    "witness": (["--witness"], True),
    "forget_after": (["--forget-after", "3600"], 3600.0),
    "node_timeout": (["--node-timeout", "7.5"], 7.5),
    "dht": (["--no-dht"], False),
    "aria2c": (["--aria2c", "/z"], "/z"),
    "log_level": (["--log-level", "debug"], "debug"),
    "log_format": (["--log-format", "json"], "json"),
}


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Settings]]:
    """The settings that nodes were started with, none of which really starts."""
    seen: list[Settings] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    async def serve(settings: Settings, _supervisor: object) -> None:
        seen.append(settings)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(main, "serve", serve)
    monkeypatch.setattr(logs, "configure", lambda _level, _form: None)
    for variable in [f"{config.ENVIRONMENT}{name.upper()}" for name in config.FIELDS]:
        monkeypatch.delenv(variable, raising=False)
    yield seen
    for number, handler in before.items():
        signal.signal(number, handler)


def start(monkeypatch: pytest.MonkeyPatch, words: Sequence[str]) -> int:
    monkeypatch.setattr(sys, "argv", ["ariacluster-node", *words])
    with pytest.raises(SystemExit) as ended:
        main.main()
    return int(ended.value.code or 0)


def parameters() -> dict[str, Any]:
    return {parameter.name or "": parameter for parameter in typer.main.get_command(main.app).params}


def test_every_setting_has_its_flag_with_its_sentence_in_the_same_order() -> None:
    shown = [name for name in parameters() if name != "config_file"]
    assert shown == [OTHERWISE.get(name, name) for name in config.FIELDS]
    for name in config.FIELDS:
        assert getattr(parameters()[OTHERWISE.get(name, name)], "help", None) == config.sentence(name)


@pytest.mark.parametrize("name", config.FIELDS)
def test_each_flag_says_what_it_was_told(name: str, started: list[Settings], monkeypatch: pytest.MonkeyPatch) -> None:
    words, value = TOLD[name]
    assert start(monkeypatch, words) == 0
    [settings] = started
    assert getattr(settings, name) == value
    others = [other for other in config.FIELDS if other != name]
    assert all(getattr(settings, other) == getattr(Settings(), other) for other in others)


def test_the_file_is_read_and_a_flag_beats_it(
    started: list[Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "node.toml"
    file.write_text('slots = 2\nname = "file"\n')
    assert start(monkeypatch, ["--config", str(file), "--slots", "3"]) == 0
    assert (started[0].slots, started[0].name) == (3, "file")


@pytest.mark.parametrize(
    "words", [["--slots", "0"], ["--slots", "x"], ["--tag", "attic"], ["--nothing"], ["--config", "/no"]]
)
def test_what_is_wrong_about_the_words_is_of_no_use_to_try_again(
    words: list[str], started: list[Settings], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A supervisor reads it in the exit code, a person in a sentence."""
    assert start(monkeypatch, words) == main.Exit.WRONG_SETTINGS == 2
    assert not started
    assert re.search("error|Error", capsys.readouterr().err)
