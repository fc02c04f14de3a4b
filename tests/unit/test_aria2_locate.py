"""Which aria2c is taken, and what its owner reads when none can be."""

from pathlib import Path

import certifi
import pytest

from ariacluster.domain.errors import StartFailed
from ariacluster_node.adapters.aria2 import locate as room
from ariacluster_node.adapters.aria2.locate import VARIABLE, locate


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[Path, str]:
    """Programs by path and what they answer; the package brings none unless the test says so."""
    answers: dict[Path, str] = {}

    async def ask(path: Path) -> str:
        return answers[path]

    monkeypatch.setattr(room, "_ask", ask)
    monkeypatch.setattr(room, "_packaged", lambda: None)
    return answers


def install(folder: Path, programs: dict[Path, str], answer: str, *, head: bytes = b"\x7fELF") -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "aria2c"
    path.write_bytes(head)
    path.chmod(0o755)
    programs[path] = answer
    return path


async def test_the_first_on_path(tmp_path: Path, programs: dict[Path, str]) -> None:
    first = install(tmp_path / "1", programs, "aria2 version 1.36.0\nCopyright")
    install(tmp_path / "2", programs, "aria2 version 1.37.0\n")
    found = await locate(environ={"PATH": f"{tmp_path}/none:{tmp_path}/1:{tmp_path}/2"})
    assert (found.path, found.version, found.flags) == (first, "1.36.0", ())


async def test_scripts_and_old_ones_are_passed_over(tmp_path: Path, programs: dict[Path, str]) -> None:
    install(tmp_path / "1", programs, "aria2 version 1.37.0", head=b"#!/usr/bin/python")
    install(tmp_path / "2", programs, "aria2 version 1.35.0")
    third = install(tmp_path / "3", programs, "aria2 version 1.37.0")
    assert (await locate(environ={"PATH": f"{tmp_path}/1:{tmp_path}/2:{tmp_path}/3"})).path == third


async def test_a_folder_that_may_not_be_entered_is_passed_over(
    tmp_path: Path, programs: dict[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    second = install(tmp_path / "2", programs, "aria2 version 1.37.0")
    closed, is_file = tmp_path / "closed" / "aria2c", Path.is_file

    def refused(path: Path) -> bool:  # as the system does, though not to root
        if path == closed:
            raise PermissionError(13, "Permission denied", str(path))
        return is_file(path)

    monkeypatch.setattr(Path, "is_file", refused)
    assert (await locate(environ={"PATH": f"{closed.parent}:{second.parent}"})).path == second


async def test_the_current_folder_is_not_searched(
    tmp_path: Path, programs: dict[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, programs, "aria2 version 1.37.0")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StartFailed):
        await locate(environ={"PATH": ":"})


async def test_the_package_brings_one_and_its_certificates(
    tmp_path: Path, programs: dict[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = install(tmp_path / "1", programs, "Aria2 Next version 2.5.6\n")
    monkeypatch.setattr(room, "_packaged", lambda: mine)
    found = await locate(environ={"PATH": ""})
    assert (found.path, found.flags) == (mine, (f"--ca-certificate={certifi.where()}",))


async def test_what_is_told_comes_first(tmp_path: Path, programs: dict[Path, str]) -> None:
    install(tmp_path / "1", programs, "aria2 version 1.36.0")
    named = install(tmp_path / "2", programs, "aria2 version 1.37.0")
    told = install(tmp_path / "3", programs, "aria2 version 1.37.0")
    environ = {"PATH": f"{tmp_path}/1", VARIABLE: str(named)}
    assert (await locate(environ=environ)).path == named
    assert (await locate(told, environ=environ)).path == told


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("aria2 version 1.35.0", "is aria2 1.35.0; resuming downloads safely needs 1.36"),
        ("Aria2 Next version 2.5.7", "is version 2.5.7, a line that cannot resume"),
        ("aria2 version 3.0.9", "is version 3.0.9, a line that cannot resume"),
        ("--no-conf --version", "does not answer as aria2c does"),
    ],
)
async def test_what_is_told_must_be_fit(tmp_path: Path, programs: dict[Path, str], answer: str, reason: str) -> None:
    good = install(tmp_path / "1", programs, "aria2 version 1.37.0")
    named = install(tmp_path / "2", programs, answer)
    with pytest.raises(StartFailed) as failed:
        await locate(environ={"PATH": str(good.parent), VARIABLE: str(named)})
    assert str(named) in failed.value.detail
    assert reason in failed.value.detail
    assert f"${VARIABLE}" in failed.value.detail


async def test_what_is_told_must_exist_and_run(tmp_path: Path, programs: dict[Path, str]) -> None:
    with pytest.raises(StartFailed, match="does not exist"):
        await locate(environ={VARIABLE: str(tmp_path / "nothing")})
    with pytest.raises(StartFailed, match="does not exist"):
        await locate(tmp_path, environ={})
    plain = install(tmp_path / "1", programs, "aria2 version 1.37.0")
    plain.chmod(0o644)
    with pytest.raises(StartFailed, match="may not be executed"):
        await locate(plain, environ={})
    script = install(tmp_path / "2", programs, "aria2 version 1.37.0", head=b"#!/bin/sh")
    with pytest.raises(StartFailed, match="is a script"):
        await locate(script, environ={})


async def test_without_any_it_says_how_to_get_one(tmp_path: Path, programs: dict[Path, str]) -> None:
    install(tmp_path / "1", programs, "aria2 version 1.18.1")
    with pytest.raises(StartFailed) as failed:
        await locate(environ={"PATH": str(tmp_path / "1")})
    for part in ("1.18.1", "apt install aria2", "brew install aria2", "choco install aria2"):
        assert part in failed.value.detail


async def test_a_file_that_the_system_cannot_run(tmp_path: Path) -> None:
    broken = tmp_path / "aria2c"
    broken.write_bytes(b"\x7fELF nonsense")
    broken.chmod(0o755)
    with pytest.raises(StartFailed, match="cannot be executed"):
        await locate(broken, environ={})


async def test_a_program_that_is_no_aria2() -> None:
    with pytest.raises(StartFailed, match="does not answer as aria2c does"):
        await locate(Path("/bin/echo"), environ={})


@pytest.mark.integration
async def test_the_real_ones() -> None:
    pytest.importorskip("aria2c")
    packaged = await locate(environ={"PATH": ""})
    assert packaged.version == "1.37.0"
    assert packaged.path.name == "aria2c" and "site-packages" in str(packaged.path)
