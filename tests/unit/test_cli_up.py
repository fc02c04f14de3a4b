"""`up` becomes the program of the node, with every argument as it was."""

import os
import sys
from pathlib import Path

import pytest

from ariacluster.cli.commands import up
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
    monkeypatch.setattr(up, "find", lambda: "/bin/node-program")
    with pytest.raises(Started):
        main(["up", *arguments])
    assert seen == ["/bin/node-program", "/bin/node-program", *arguments, "ariacluster up"]


def test_the_program_beside_this_one_goes_before_one_on_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("beside", "path"):
        (tmp_path / name).mkdir()
        (tmp_path / name / up.PROGRAM).write_text("#!/bin/sh\n")
        (tmp_path / name / up.PROGRAM).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    monkeypatch.setattr(sys, "argv", ["/nowhere/ariacluster"])
    monkeypatch.setattr("sysconfig.get_path", lambda _: "/nowhere")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "beside" / "python"))
    assert up.find() == str(tmp_path / "beside" / up.PROGRAM)
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert up.find() == str(tmp_path / "path" / up.PROGRAM)


def test_a_program_that_is_missing_is_one_sentence(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(up, "find", lambda: None)
    assert main(["up"]) == 1
    assert capsys.readouterr().err.startswith("error: The program ariacluster-node is not installed")
    monkeypatch.setattr(up, "find", lambda: "/nowhere/ariacluster-node")
    assert main(["up"]) == 1
    assert "No such file" in capsys.readouterr().err
