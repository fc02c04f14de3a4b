"""What a line of the log looks like, in both forms, and what is never in one."""

import errno
import io
import json
import logging
import sys
import threading
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Literal

import pytest
import structlog

from ariacluster_node import logs


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    logs._bound.clear()
    logs._names.clear()
    root.handlers[:] = before
    root.setLevel(level)
    for name in logs.QUIET:
        logging.getLogger(name).setLevel(logging.NOTSET)


class Written:
    """What went to standard error since."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, form: Literal["text", "json"], level: str = "info") -> None:
        self._stream = io.StringIO()
        monkeypatch.setattr(sys, "stderr", self._stream)
        logs.configure(level, form)
        self.log = structlog.get_logger()

    def lines(self) -> list[str]:
        return self._stream.getvalue().splitlines()

    def only(self) -> str:
        [line] = self.lines()
        return line

    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.only())
        return found


def test_a_line_for_people(monkeypatch: pytest.MonkeyPatch) -> None:
    written = Written(monkeypatch, "text")
    logs.bind(on="nas", on_id="00aa")
    written.log.warning("bytes given up", task="17", reason='it says "no"\nand no more', whole=False)
    stamp, rest = written.only().split(" ", 1)
    assert datetime.fromisoformat(stamp.removeprefix("timestamp=")).tzinfo
    assert rest == (
        'level=warning event="bytes given up" task=17 reason="it says \\"no\\"\\nand no more" whole=false on=nas on_id=00aa'
    )


def test_a_line_for_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    written = Written(monkeypatch, "json")
    logs.bind(on="nas", on_id="00aa")
    written.log.warning("bytes given up", task="17", bytes=5, whole=False)
    line = written.json()
    assert datetime.fromisoformat(line.pop("timestamp")).tzinfo
    assert line == {
        "level": "warning", "event": "bytes given up", "task": "17", "bytes": 5, "whole": False, "on": "nas", "on_id": "00aa",
    }  # fmt: skip


@pytest.mark.parametrize("form", ["text", "json"])
def test_an_exception_is_one_line_and_keeps_the_variables_to_itself(
    form: Literal["text", "json"], monkeypatch: pytest.MonkeyPatch
) -> None:
    written = Written(monkeypatch, form)
    key = "5ec4e7"
    try:
        raise ValueError(f"{len(key)} letters")
    except ValueError:
        written.log.exception("it failed")
    assert "ValueError" in written.only() and "6 letters" in written.only()
    assert "5ec4e7" not in written.only()


@pytest.mark.parametrize("form", ["text", "json"])
def test_libraries_and_threads_write_in_the_same_form(
    form: Literal["text", "json"], monkeypatch: pytest.MonkeyPatch
) -> None:
    written = Written(monkeypatch, form)
    logs.bind(on="nas")
    logging.getLogger("zeroconf").info("chatter")
    logging.getLogger("zeroconf").warning("trouble with %s", "eth0")
    thread = threading.Thread(target=lambda: structlog.get_logger().info("from a thread", term=3))
    thread.start()
    thread.join()
    first, second = written.lines()
    if form == "json":
        assert json.loads(first) | {"timestamp": ""} == {
            "timestamp": "", "level": "warning", "event": "trouble with eth0", "on": "nas",
        }  # fmt: skip
        assert json.loads(second)["on"] == "nas"
    else:
        assert 'level=warning event="trouble with eth0" on=nas' in first
        assert 'event="from a thread" term=3 on=nas' in second


def test_a_node_has_its_name_beside_its_id(monkeypatch: pytest.MonkeyPatch) -> None:
    written = Written(monkeypatch, "text")
    names = {"00aa": "nas"}
    written.log.info("link lost", node="00aa", where="10.0.0.2:7946")
    logs.name_nodes(lambda node: names.get(node, node))
    written.log.info("link lost", node="00aa", where="10.0.0.2:7946")
    written.log.warning("link refused", peer="00aa", node="00bb")
    written.log.info("away", node="nas")
    written.log.info("voters", node=3, peer=None)
    said = [line.split(" level=")[1].split(" ", 1)[1] for line in written.lines()]
    assert said == [
        'event="link lost" node=00aa where=10.0.0.2:7946',
        'event="link lost" node=nas where=10.0.0.2:7946 node_id=00aa',
        'event="link refused" peer=nas node=00bb peer_id=00aa',
        "event=away node=nas",
        "event=voters node=3 peer=",
    ]


def test_a_level_leaves_out_what_is_below_it(monkeypatch: pytest.MonkeyPatch) -> None:
    written = Written(monkeypatch, "text", "warning")
    written.log.info("decided")
    logging.getLogger("some.library").info("chatter")
    assert written.lines() == []
    written.log.error("somebody has to act")
    assert "level=error" in written.only()


class Full(io.StringIO):
    def write(self, line: str) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("stream", [Full(), io.StringIO()], ids=["full", "closed"])
def test_a_line_that_cannot_be_written_stops_nobody(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO) -> None:
    if type(stream) is io.StringIO:
        stream.close()
    monkeypatch.setattr(sys, "stderr", stream)
    logs.configure("info", "text")
    structlog.get_logger().error("the disk is full")


SECRET = "s3cr3t"


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize(
    "told",
    [
        f"cannot reach ftp://ada:{SECRET}@example.org/file",
        f"https://{SECRET}@example.org:8443/x?y=1 said no",
        f"http://ada:{SECRET}@[2001:db8::1]/x",
        f"Authorization: Basic {SECRET}",
        f"headers: ['Cookie: a={SECRET}; b={SECRET}', 'Accept: */*']",
        f"{{'proxy-authorization': 'Bearer {SECRET}'}}",
        f"set-cookie={SECRET}",
    ],
)
def test_what_others_say_is_written_without_secrets(
    form: Literal["text", "json"], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = Written(monkeypatch, form)
    written.log.warning("attempt failed", aria2=told, code=3)
    assert SECRET not in written.only()
    assert logs.HIDDEN in written.only()
    assert ("example.org" in told) <= ("example.org" in written.only()), "the rest stays"
    if form == "json":
        assert written.json()["code"] == 3


@pytest.mark.parametrize(
    "told", ["http://example.org/a@b", "ada@example.org", "nas:8000 does not answer", "cookies: none"]
)
def test_what_is_no_secret_stays(told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    written = Written(monkeypatch, "json")
    written.log.info("said", what=told)
    assert written.json()["what"] == told
