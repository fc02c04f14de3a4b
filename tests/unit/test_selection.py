"""Which files are wanted: what aria2 understands, and nothing that it would take for something else."""

import pytest

from ariacluster.domain.errors import InvalidInput
from ariacluster.domain.selection import LAST, SIFTING, alike, ranges, size_of

LENGTHS = (1, 20, 300, 4000)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1", 1),
        ("4", 4000),
        ("1-4", 4321),
        ("4,1", 4001),
        ("2-3,1-2", 321),
        ("3,3", 300),
        (" 1 , 3 - 4 ", 4301),
        ("02", 20),
    ],
)
def test_what_is_wanted_is_counted_once(text: str, size: int) -> None:
    assert size_of(LENGTHS, {"select-file": text}) == size


def test_without_a_selection_it_is_all() -> None:
    assert size_of(LENGTHS, {}) == 4321


@pytest.mark.parametrize(
    "text",
    ["", " ", ",", "1,", ",1", "1,,2", "0", "0-1", "3-1", "-2", "2-", "1-2-3", "+1", "x", "1;2", "1.0", "²", "１", "1\n",
     str(LAST + 1), f"1-{LAST + 1}", "9" * 4000],
)  # fmt: skip
def test_nonsense_is_refused_by_the_name_of_the_option(text: str) -> None:
    with pytest.raises(InvalidInput, match="as in 1,3-5") as caught:
        ranges(text)
    assert caught.value.field == "options.select-file"


@pytest.mark.parametrize(
    ("lengths", "text", "allowed"),
    [(LENGTHS, "5", "from 1 to 4"), (LENGTHS, "2-5,1", "from 1 to 4"), ((7,), "2", "Give 1, or leave it out")],
)
def test_a_file_that_there_is_not_is_refused_with_those_that_there_are(
    lengths: tuple[int, ...], text: str, allowed: str
) -> None:
    for sifting in ({}, {SIFTING[0]: "de"}):
        with pytest.raises(InvalidInput, match=allowed) as caught:
            size_of(lengths, {"select-file": text, **sifting})
        assert caught.value.field == "options.select-file"


@pytest.mark.parametrize("name", SIFTING)
def test_where_aria2_sifts_first_all_of_it_counts(name: str) -> None:
    assert size_of(LENGTHS, {"select-file": "1", name: "x"}) == 4321
    assert not alike({"select-file": "1"}, {"select-file": "1", name: "x"})


def test_other_options_want_no_other_files() -> None:
    assert alike({"select-file": "1", "split": "2"}, {"select-file": "1"})
    assert not alike({}, {"select-file": "1"})
