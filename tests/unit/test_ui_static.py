"""What the browser loads: every word, icon and class that is named is there, and nothing is asked of the outside."""

import re
from pathlib import Path

import pytest

from ariacluster_ui import assets, theme
from ariacluster_ui.catalogue import ENGLISH

SCRIPTS = sorted(assets.SCRIPTS.glob("*.js"))
SHEETS = sorted(assets.STATIC.glob("*.css"))
ICONS = set(re.findall(r'<symbol id="i-([\w-]+)"', (assets.STATIC / "icons.svg").read_text()))
PYTHON = sorted(Path(theme.__file__).parent.rglob("*.py"))


def ids(path: Path) -> str:
    return path.name


@pytest.mark.parametrize("script", SCRIPTS, ids=ids)
def test_every_word_and_icon_of_a_component_is_there(script: Path) -> None:
    text = script.read_text()
    words = set(re.findall(r"""\bt\(\s*['"]([\w.]+\w)['"]\s*[,)]""", text))
    assert words - ENGLISH.keys() == set()
    beginnings = set(re.findall(r"""\bt\(['"]([\w.]+\.)['"] \+""", text)) | set(
        re.findall(r"\bt\(`([\w.]+\.)\$\{", text)
    )
    assert {one for one in beginnings if not any(key.startswith(one) for key in ENGLISH)} == set()
    named = set(re.findall(r"""<Icon[^>]* name="([\w-]+)\"""", text)) | set(
        re.findall(r"""\bicon: ['"]([\w-]+)['"]""", text)
    )
    assert named - ICONS == set()


def test_every_word_that_python_says_is_there() -> None:
    for path in PYTHON:
        assert set(re.findall(r"""\bt\("([\w.]+\w)"[,)]""", path.read_text())) - ENGLISH.keys() == set(), path


def test_icons_of_events_are_there() -> None:
    from ariacluster_ui.presenters.activity import LOOKS

    assert {icon for icon, _ in LOOKS.values()} <= ICONS


def test_icons_of_verbs_are_there() -> None:
    from ariacluster_ui.presenters.task import VERBS

    assert {verb.icon for verb in VERBS.values()} <= ICONS


@pytest.mark.parametrize("path", [*SCRIPTS, *SHEETS], ids=ids)
def test_nothing_is_asked_of_the_outside(path: Path) -> None:
    places = set(re.findall(r"https?://[\w.-]+", path.read_text()))
    assert {place for place in places if place not in ("http://www.w3.org",)} == set()


@pytest.mark.parametrize("sheet", SHEETS, ids=ids)
def test_classes_are_our_own(sheet: Path) -> None:
    """`.row`, `.sm`, `.hidden` and the like are Quasar's, some of them with `!important`."""
    text = re.sub(r"/\*.*?\*/|url\([^)]*\)", "", sheet.read_text(), flags=re.DOTALL)
    selectors = " ".join(re.findall(r"([^{}]+)\{", text))
    classes = {name for name in re.findall(r"\.([a-zA-Z][\w-]*)", selectors) if not name.startswith("ac-")}
    assert {name for name in classes if not name.startswith(("nicegui-", "q-"))} == set()


def test_the_sheets_that_are_linked_are_there() -> None:
    assert {sheet.stem for sheet in SHEETS} == set(theme.SHEETS)
    assert {f"{name}" for name in theme.SHARED} <= {script.name for script in SCRIPTS}


def test_what_is_loaded_is_named_by_its_content() -> None:
    head = theme.head_html("/aria")
    assert f'href="/aria/ac/{assets.VERSION}/ac.css"' in head
    assert "</script>" in head
    assert head.count("<script>") == 1


def test_fonts_and_icons_bear_their_licences() -> None:
    assert "SIL Open Font License" in (assets.STATIC / "fonts" / "LICENSE").read_text()
    assert "ISC License" in (assets.STATIC / "icons.LICENSE").read_text()
