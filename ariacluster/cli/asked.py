"""What a person asks for, as tasks: links, documents on this machine, lists, and the values of options."""

import sys
from base64 import b64encode
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import typer

from ariacluster.cli import units
from ariacluster.cli.submitting import Wanted
from ariacluster.domain.document import MAX_DOCUMENT
from ariacluster.domain.errors import InvalidInput
from ariacluster.wire.link_list import parse
from ariacluster.wire.requests import TaskCreate

DOCUMENTS = {".torrent": "torrent", ".metalink": "metalink", ".meta4": "metalink"}
"""Files that tell of a download, by their ending; each has its own field in a submission."""


def asked(sources: Sequence[str], mirrors: Sequence[str], common: TaskCreate) -> list[Wanted]:
    """A task for each source; with mirrors, one for all of them."""
    if mirrors:
        if len(sources) != 1 or _document_kind(sources[0]):
            raise typer.BadParameter("Mirrors are of one file: give a single URL with them.", param_hint="--mirror")
        return [Wanted(msgspec.structs.replace(common, urls=[*sources, *mirrors]), sources[0])]
    return [_wanted(source, common) for source in sources]


def _wanted(source: str, common: TaskCreate) -> Wanted:
    """The task for a link, or for a document on this machine."""
    kind = _document_kind(source)
    if kind is None:
        if "://" not in source and not source.startswith("magnet:") and Path(source).is_file():
            raise typer.BadParameter(
                f"{source} is a file here. If it is a list of links, say --input-file {source}.", param_hint="URL"
            )
        return Wanted(msgspec.structs.replace(common, url=source), source)
    try:
        size = Path(source).expanduser().stat().st_size
        if size > MAX_DOCUMENT:
            raise typer.BadParameter(
                f"{source} has {size:,} bytes; a node takes {MAX_DOCUMENT:,} of a document.", param_hint="URL"
            )
        content = Path(source).expanduser().read_bytes()
    except OSError as error:
        raise typer.BadParameter(f"{source} cannot be read: {error.strerror}.", param_hint="URL") from None
    fields: dict[str, Any] = {kind: b64encode(content).decode()}
    return Wanted(msgspec.structs.replace(common, **fields), source)


def _document_kind(source: str) -> str | None:
    """`torrent` or `metalink` for the name of such a file; None for anything else, which the node may judge."""
    return None if "://" in source else DOCUMENTS.get(Path(source).suffix.lower())


def listed(path: str, common: TaskCreate) -> list[Wanted]:
    """The downloads of a list; what it says of one goes before what the command line says of all."""
    try:
        entries = parse(_read(path))
    except InvalidInput as error:
        raise typer.BadParameter(error.detail, param_hint="--input-file") from None
    name = "stdin" if path == "-" else path
    return [
        Wanted(
            msgspec.structs.replace(
                common,
                url=entry.urls[0] if len(entry.urls) == 1 else None,
                urls=entry.urls if len(entry.urls) > 1 else None,
                out=entry.out or common.out,
                dir=common.dir if entry.folder is None else entry.folder,
                checksum=entry.checksum or common.checksum,
                headers=[*common.headers, *entry.headers],
                options=common.options | entry.options,
            ),
            f"{name}:{entry.line}: {entry.urls[0]}",
        )
        for entry in entries
    ]


def _read(path: str) -> str:
    try:
        data = sys.stdin.buffer.read() if path == "-" else Path(path).expanduser().read_bytes()
        return data.decode()
    except OSError as error:
        raise typer.BadParameter(f"{path} cannot be read: {error.strerror}.", param_hint="--input-file") from None
    except UnicodeDecodeError:
        raise typer.BadParameter(f"{path} is no text in UTF-8.", param_hint="--input-file") from None


def pairs(given: Iterable[str], hint: str) -> dict[str, str]:
    """KEY=VALUE, each."""
    found = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise typer.BadParameter(f"{text!r} is not KEY=VALUE.", param_hint=hint)
        found[key] = value
    return found


def moment(text: str, hint: str) -> datetime:
    """A time to come."""
    if (when := units.time_of(text, datetime.now(UTC))) is None:
        raise typer.BadParameter(
            f"{text!r} is no time; write 2026-12-24T18:00, 22:00, or 2h for in two hours.", param_hint=hint
        )
    return when
