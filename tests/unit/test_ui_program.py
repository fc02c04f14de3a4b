"""The program `ariacluster-ui`: what it is told, and how it ends."""

import socket
import sys
from pathlib import Path

import pytest

from ariacluster.domain.errors import StartFailed
from ariacluster_ui.main import TAKEN, listen, main
from ariacluster_ui.options import LOCAL, options
from tests.support import ports, processes

PROGRAM = Path(sys.executable).with_name("ariacluster-ui")


def test_what_is_not_said_is_usual() -> None:
    told = options(None, "::", 8080, "", None, with_parent=False)
    assert told.urls == (LOCAL,)
    assert told.storage.is_absolute()


@pytest.mark.parametrize("url", ["nas:8000", "ftp://nas", "http://"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(StartFailed, match="write http://HOST:PORT"):
        options([url], "::", 8080, "", None, with_parent=False)


def test_a_taken_port_is_told_with_a_code_of_its_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        words = ["--host", "127.0.0.1", "--port", str(other.getsockname()[1]), "--storage", str(tmp_path)]
        monkeypatch.setattr(sys, "argv", ["ariacluster-ui", *words])
        with pytest.raises(SystemExit) as ended:
            main()
    assert ended.value.code == TAKEN
    assert "is in use" in capsys.readouterr().err


def test_it_listens_on_every_address() -> None:
    with listen("::", 0) as taken:
        socket.create_connection(("127.0.0.1", taken.getsockname()[1])).close()


async def test_it_says_that_no_node_is_there_and_ends_with_its_parent(tmp_path: Path) -> None:
    """Standard input is empty here: whoever starts it as a child and goes away has closed it."""
    command = [str(PROGRAM), "--url", "http://127.0.0.1:9", "--host", "127.0.0.1", "--port", str(ports.free_port())]
    here = tmp_path / "here"
    here.mkdir()
    command += ["--storage", str(tmp_path / "memory"), "--with-parent"]
    child = await processes.start(command, tmp_path, name="app", cwd=here)
    assert await child.wait(timeout=15) in (0, -15)
    assert list(here.iterdir()) == []  # NiceGUI writes to the working folder if it is not told better


BROKEN = """
import sys
from pathlib import Path
from ariacluster_ui import live, main, options
async def run(self):
    raise ZeroDivisionError("on purpose")
live.Store.run = run
main.run(options.Options(host="127.0.0.1", port=int(sys.argv[1]), storage=Path(sys.argv[2])))
"""


async def test_one_that_would_tell_nothing_any_more_ends(tmp_path: Path) -> None:
    command = [sys.executable, "-c", BROKEN, str(ports.free_port()), str(tmp_path)]
    broken = await processes.start(command, tmp_path, name="app")
    assert await broken.wait(timeout=15) == 1
    assert "on purpose" in await broken.text()
