"""Plays the transcripts (`*.txt`) and holds them to the word. `GOLDEN_UPDATE=1` writes down what happened instead."""

import os
from pathlib import Path

import pytest

from .stage import Stage

HERE = Path(__file__).parent
TRANSCRIPTS = sorted(HERE.glob("*.txt"))


def perform(text: str) -> str:
    """The transcript as it comes out now: titles, comments and lines that are played stay, answers are new."""
    stage, lines, answering = Stage(), list[str](), False
    for line in text.splitlines():
        if line.startswith(">"):
            lines += [line, *stage.play(line[1:])]
            answering = True
        elif not line or line.startswith("#"):
            lines.append(line)
            answering = False
        elif not answering:
            raise AssertionError(f"neither played (>), comment (#) nor answer: {line!r}")
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
def test_transcript(path: Path) -> None:
    text = path.read_text("utf-8")
    played = perform(text)
    if os.environ.get("GOLDEN_UPDATE"):
        path.write_text(played, "utf-8")
    else:
        assert played == text, "it comes out differently; if that is right: GOLDEN_UPDATE=1 pytest tests/scenarios"


def test_there_are_transcripts() -> None:
    assert len(TRANSCRIPTS) >= 10


def test_a_wrong_answer_does_not_pass() -> None:
    right = "# one\n> node a\n> submit iso\niso: pending\n"
    assert perform(right) == right
    assert perform(right.replace("pending", "completed")) == right
    assert perform("> node a\n> submit iso\n") == "> node a\n> submit iso\niso: pending\n"
    with pytest.raises(AssertionError, match="neither"):
        perform("> node a\n\na stray line\n")
