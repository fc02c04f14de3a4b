"""Nothing that comes from elsewhere is markup or a terminal's command."""

import io
import json
import unicodedata

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st
from rich.cells import cell_len

from ariacluster.cli.grid import Cell, Column, lay
from ariacluster.cli.output import Kind, Output
from ariacluster.cli.plain import elide, json_safe, plain

JOINERS = "\u200c\u200d"
ANY_TEXT = st.text(st.characters(), max_size=60)
NASTY = st.text(
    st.sampled_from("a[/]red\x1b\x07\x7f\x9b\n\r\t\u202e\u2066\u200b\u200d\u200c\ufeff\u0301日👩🏽🚀\ufe0f:"),
    max_size=40,
)


def harmless(char: str) -> bool:
    return unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Zl", "Zp") or char in JOINERS


@given(ANY_TEXT | NASTY)
@example("\x1b]0;owned\x07\x1b[2J")
@example("\u202egnp.exe")
@example("\ud800")
def test_what_is_shown_commands_nothing(text: str) -> None:
    assert all(harmless(char) for char in plain(text))


@given(st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]), max_size=60))
@example("[red]x[/red] :smile: \\[bold] 日本語 עברית 🇬🇧")
def test_what_is_harmless_is_shown_as_it_is(text: str) -> None:
    assert plain(text) == text


def test_what_is_not_is_written_out() -> None:
    assert plain("a\x1b[31m\x7f\x9b\u202e\n") == "a\\x1b[31m\\x7f\\x9b\\u202e\\n"
    assert plain("👩🏽\u200d🚀 می\u200cخواهم") == "👩🏽\u200d🚀 می\u200cخواهم"
    assert plain("a\u200db") == "a\\u200db"
    assert "\u0301" * 5 not in plain("e" + "\u0301" * 50)


@given(ANY_TEXT | NASTY, st.integers(0, 40))
@example("\x80\U0001f3fb\ufe0f\x1f", 8)
def test_a_name_fits_and_keeps_both_ends(text: str, width: int) -> None:
    shown = elide(text, width)
    assert cell_len(shown) <= width
    assert all(harmless(char) for char in shown)
    if cell_len(plain(text)) <= width:
        assert shown == plain(text)
    elif width > 0:
        head, _, tail = shown.partition("…")
        assert plain(text).startswith(head)
        assert plain(text).endswith(tail)


TEXT_ON_THE_WIRE = st.text(max_size=60) | NASTY
"""Without lone surrogates: UTF-8 has none."""


@given(st.recursive(TEXT_ON_THE_WIRE | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(NASTY, inner)))
def test_json_says_the_same_and_commands_nothing(value: object) -> None:
    encoded = msgspec.json.encode(value).decode()
    safe = json_safe(encoded)
    assert json.loads(safe) == json.loads(encoded) == json.loads(json_safe(encoded, ascii_only=True))
    assert all(harmless(char) for char in safe)
    assert json_safe(encoded, ascii_only=True).isascii()


@given(st.lists(st.tuples(NASTY | ANY_TEXT, NASTY), max_size=4), st.integers(20, 100))
def test_a_table_has_one_line_a_row_no_wider_than_asked(rows: list[tuple[str, str]], width: int) -> None:
    columns = [Column("NAME", least=8), Column("N", right=True, least=4)]
    lines = lay(columns, [[Cell(name), Cell(other)] for name, other in rows], width)
    assert len(lines) == len(rows) + 1
    for line in lines:
        assert line.cell_len <= width
        assert all(harmless(char) for char in line.plain)


@given(NASTY)
def test_the_console_reads_no_markup(text: str) -> None:
    out = io.StringIO()
    output = Output(Kind.TABLE, out, out)
    output.lines(lay([Column("NAME")], [[Cell("a" + text)]], 1000, titles=False))
    output.note(text)
    assert out.getvalue() == f"a{plain(text)}\n{plain(text)}\n"


def test_columns_that_matter_less_go_first_and_names_shrink_last() -> None:
    columns = [Column("NAME", least=6), Column("SIZE", right=True, keep=2), Column("AGE", keep=1)]
    rows = [[Cell("a-rather-long-name"), Cell("1 GB"), Cell("now")], [Cell("b"), Cell("12 GB"), Cell("now")]]
    assert [line.plain for line in lay(columns, rows, 40)] == [
        "NAME                 SIZE  AGE",
        "a-rather-long-name   1 GB  now",
        "b                   12 GB  now",
    ]
    assert [line.plain for line in lay(columns, rows, 20)] == [
        "NAME       SIZE  AGE",
        "a-ra…ame   1 GB  now",
        "b         12 GB  now",
    ]
    assert [line.plain for line in lay(columns, rows, 13)] == ["NAME     SIZE", "a-r…me   1 GB", "b       12 GB"]
    assert [line.plain for line in lay(columns, rows, 8)] == ["NAME", "a-ra…ame", "b"]
