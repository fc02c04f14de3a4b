"""`up`, `ui` and `doctor` become the programs beside this one, with every argument as it was."""

import os
import sys
from pathlib import Path

import pytest

from ariacluster.cli import siblings
from ariacluster.cli.commands.up import PROGRAM
from ariacluster.cli.main import main


class Started(Exception):
    """In the place of the process that would be another one now."""


@pytest.mark.parametrize(
    "arguments",
    [[], ["--help"], ["--name", "a b", "--", "-x", "--url"], ["-abc", "up", "--port=1"], ["-o", "json", "--version"]],
)
def test_every_argument_is_passed_on_untouched(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def execv(program: str, given: list[str]) -> None:
        seen[:] = [program, *given, os.environ["ARIACLUSTER_PROG"]]
        raise Started

    monkeypatch.setenv("ARIACLUSTER_PROG", "")
    monkeypatch.setattr(os, "execv", execv)
    monkeypatch.setattr(siblings, "find", lambda _: "/bin/node-program")
    with pytest.raises(Started):
        main(["up", *arguments])
    assert seen == ["/bin/node-program", "/bin/node-program", *arguments, "ariacluster up"]


def test_the_web_app_is_told_which_node_to_show(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def execv(program: str, given: list[str]) -> None:
        seen[:] = [*given, os.environ["ARIACLUSTER_PROG"]]
        raise Started

    monkeypatch.setenv("ARIACLUSTER_PROG", "")
    monkeypatch.setattr(os, "execv", execv)
    monkeypatch.setattr(siblings, "find", lambda name: f"/bin/{name}")
    for arguments in (["ui", "--url", "http://nas:8000", "--help"], ["--url", "http://nas:8000", "ui", "--help"]):
        with pytest.raises(Started):
            main(arguments)
        assert seen == ["/bin/ariacluster-ui", "--url", "http://nas:8000", "--help", "ariacluster ui"]


def test_the_program_beside_this_one_goes_before_one_on_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("beside", "path"):
        (tmp_path / name).mkdir()
        (tmp_path / name / PROGRAM).write_text("#!/bin/sh\n")
        (tmp_path / name / PROGRAM).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    monkeypatch.setattr(sys, "argv", ["/nowhere/ariacluster"])
    monkeypatch.setattr("sysconfig.get_path", lambda _: "/nowhere")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "beside" / "python"))
    assert siblings.find(PROGRAM) == str(tmp_path / "beside" / PROGRAM)
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert siblings.find(PROGRAM) == str(tmp_path / "path" / PROGRAM)


def test_a_program_that_is_missing_is_one_sentence(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(siblings, "find", lambda _: None)
    assert main(["up"]) == 1
    assert capsys.readouterr().err.startswith("error: The program ariacluster-node is not installed")
    monkeypatch.setattr(siblings, "find", lambda _: "/nowhere/ariacluster-node")
    assert main(["up"]) == 1
    assert "No such file" in capsys.readouterr().err
