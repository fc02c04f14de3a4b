"""The generated documents say what the code says."""

import re
from pathlib import Path

import pytest

from ariacluster.domain.task import MOVES, TaskState
from tests.support.docs import DOCS, GENERATED, MEANING, task_states


@pytest.mark.parametrize("name", GENERATED)
def test_a_generated_document_is_up_to_date(name: str) -> None:
    assert (DOCS / name).read_text("utf-8") == GENERATED[name](), "run scripts/docs"


def test_the_drawing_has_every_move_and_no_other() -> None:
    drawn = set(re.findall(r"^    (\w+) --> (\w+): (\w+)$", task_states(), re.MULTILINE))
    assert drawn == {(source, move.target, name) for name, move in MOVES.items() for source in move.sources}


def test_every_state_is_explained() -> None:
    assert MEANING.keys() == set(TaskState)
    assert all(f"| {move.when} |" in task_states() for move in MOVES.values())


@pytest.mark.parametrize("page", [DOCS.parent / "README.md", *sorted(DOCS.glob("*.md"))], ids=lambda page: page.name)
def test_what_a_page_points_at_is_there(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
    named = re.findall(r"\]\(([^)\s]+)\)|<img src=\"([^\"]+)\"", text)
    files = [(link or image).partition("#")[0] for link, image in named if not re.match(r"[a-z]+:", link or image)]
    assert [name for name in files if name and not (page.parent / name).exists()] == []
