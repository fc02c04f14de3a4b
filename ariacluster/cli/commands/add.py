"""`add`: submit downloads."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from ariacluster.cli import units, watched
from ariacluster.cli.invocation import Invocation, command
from ariacluster.cli.output import ExitCode, exit_code
from ariacluster.domain.errors import AriaClusterError, InvalidInput, NoLeader
from ariacluster.domain.task import Priority
from ariacluster.wire.link_list import parse
from ariacluster.wire.resources import TaskCreate, TaskResource

PRIORITIES = ", ".join(priority.name.lower() for priority in Priority)
WHERE = "Where it runs"


def add_to(app: typer.Typer) -> None:
    examples = [
        "ariacluster add --watch https://example.org/disk.iso",
        "ariacluster add --input-file list.txt --to isos --tag disk=big",
        "ariacluster add --not-before 22:00 https://example.org/big.tar",
        "ariacluster add https://a.example/f.zip --mirror https://b.example/f.zip --checksum sha-256=…",
    ]
    command(app, "add", examples=examples)(add)
    command(app, "create", hidden=True, examples=["ariacluster create https://example.org/disk.iso"])(add)


async def add(
    invocation: Invocation,
    urls: Annotated[
        list[str] | None, typer.Argument(metavar="URL", help="http, https, ftp, sftp or magnet; a task for each.")
    ] = None,
    input_file: Annotated[
        str | None,
        typer.Option(
            "--input-file", "-i", metavar="FILE", help="A list: a URL a line, or aria2's format; - for stdin."
        ),
    ] = None,
    mirror: Annotated[
        list[str] | None,
        typer.Option("--mirror", metavar="URL", help="Another source of the same file (one URL only)."),
    ] = None,
    out: Annotated[
        str | None, typer.Option("--out", metavar="NAME", help="What to call the file (one URL only).")
    ] = None,
    to: Annotated[
        str | None, typer.Option("--to", metavar="SUBDIR", help="A folder inside the node's download folder.")
    ] = None,
    checksum: Annotated[
        str | None, typer.Option("--checksum", metavar="TYPE=HEX", help="What the file must hash to, e.g. sha-256=….")
    ] = None,
    header: Annotated[
        list[str] | None, typer.Option("--header", metavar="'Name: value'", help="Sent with every request.")
    ] = None,
    option: Annotated[
        list[str] | None, typer.Option("--option", metavar="KEY=VALUE", help="An option of aria2.")
    ] = None,
    priority: Annotated[str, typer.Option("--priority", metavar="NAME", help=f"One of {PRIORITIES}.")] = "normal",
    not_before: Annotated[
        str | None,
        typer.Option("--not-before", metavar="TIME", help="Not yet: 2026-12-24T18:00, 22:00, or 2h for in two hours."),
    ] = None,
    node: Annotated[
        str | None, typer.Option("--node", metavar="NODE", help="Only on this one.", rich_help_panel=WHERE)
    ] = None,
    tag: Annotated[
        list[str] | None,
        typer.Option("--tag", metavar="KEY=VALUE", help="Only on nodes with this tag.", rich_help_panel=WHERE),
    ] = None,
    prefer_tag: Annotated[
        list[str] | None,
        typer.Option("--prefer-tag", metavar="KEY=VALUE", help="Better on nodes with this tag.", rich_help_panel=WHERE),
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Show the progress until all have ended; Ctrl-C leaves them running.")
    ] = False,
) -> int:
    """Submit downloads: a task for each URL. The cluster picks the node."""
    common = TaskCreate(
        out=out,
        dir=to or "",
        options=_pairs(option, "--option"),
        headers=header or [],
        checksum=checksum,
        priority=priority.lower(),
        tags=_pairs(tag, "--tag"),
        prefer_tags=_pairs(prefer_tag, "--prefer-tag"),
        node=node,
        not_before=None if not_before is None else _time(not_before),
    )
    asked = _asked(urls or [], mirror or [], common)
    if input_file is not None:
        asked.extend(_listed(input_file, common))
    if not asked and input_file is None:
        raise typer.BadParameter("Give a URL, or a list of them with --input-file.", param_hint="URL")
    if len(asked) > 1 and (out is not None or checksum is not None):
        raise typer.BadParameter(
            "It fits one file only, and here are several.", param_hint="--out" if out else "--checksum"
        )
    return await _submit_all(invocation, asked, watch)


async def _submit_all(invocation: Invocation, asked: list[TaskCreate], watch: bool) -> int:
    output = invocation.output
    quiet = watch and (output.live or not output.for_people)
    code = ExitCode.DONE
    async with invocation.client() as client:
        added: list[TaskResource] = []
        for position, wanted in enumerate(asked):
            try:
                # One after the other, so that the queue has the order of the list.
                task = await client.submit(wanted)
            except AriaClusterError as error:
                output.problem(error, about={"url": _name(wanted)})
                code = code or exit_code(error)
                if error.code == "not_reached" or isinstance(error, NoLeader):
                    code = exit_code(error)
                    if rest := len(asked) - position - 1:
                        output.note(f"The remaining {rest} were not submitted.")
                    break
                code = ExitCode.FAILED
                continue
            added.append(task)
            if output.kind == "ndjson" and not watch:
                output.record(task)
            elif not quiet and output.for_people:
                watched.tell(output, task)
        if watch and added:
            return await watched.these(invocation, client, added) or code
    if output.kind == "json":
        output.document(added)
    return code


def _asked(urls: list[str], mirrors: list[str], common: TaskCreate) -> list[TaskCreate]:
    import msgspec

    if mirrors:
        if len(urls) != 1:
            raise typer.BadParameter("Mirrors are of one file: give a single URL with them.", param_hint="--mirror")
        return [msgspec.structs.replace(common, urls=[*urls, *mirrors])]
    return [msgspec.structs.replace(common, url=url) for url in urls]


def _listed(path: str, common: TaskCreate) -> list[TaskCreate]:
    """The downloads of a list; what it says of one goes before what the command line says of all."""
    import msgspec

    try:
        entries = parse(_read(path))
    except InvalidInput as error:
        raise typer.BadParameter(error.detail, param_hint="--input-file") from None
    return [
        msgspec.structs.replace(
            common,
            url=entry.urls[0] if len(entry.urls) == 1 else None,
            urls=entry.urls if len(entry.urls) > 1 else None,
            out=entry.out or common.out,
            dir=common.dir if entry.folder is None else entry.folder,
            checksum=entry.checksum or common.checksum,
            headers=[*common.headers, *entry.headers],
            options=common.options | entry.options,
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


def _pairs(given: list[str] | None, hint: str) -> dict[str, str]:
    """KEY=VALUE, each."""
    found = {}
    for text in given or []:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise typer.BadParameter(f"{text!r} is not KEY=VALUE.", param_hint=hint)
        found[key] = value
    return found


def _time(text: str) -> datetime:
    if (when := units.time_of(text, datetime.now(UTC))) is None:
        raise typer.BadParameter(
            f"{text!r} is no time; write 2026-12-24T18:00, 22:00, or 2h for in two hours.", param_hint="--not-before"
        )
    return when


def _name(wanted: TaskCreate) -> str:
    return wanted.url or (wanted.urls or [""])[0]
