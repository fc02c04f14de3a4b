"""`add`: submit downloads."""

from typing import Annotated

import typer

from ariacluster.cli import watched
from ariacluster.cli.asked import asked, listed, moment, pairs
from ariacluster.cli.invocation import Invocation, command
from ariacluster.cli.submitting import Wanted, submit
from ariacluster.domain.task import Priority
from ariacluster.wire.requests import TaskCreate

PRIORITIES = ", ".join(priority.name.lower() for priority in Priority)
WHERE = "Where it runs"


def add_to(app: typer.Typer) -> None:
    examples = [
        "ariacluster add --watch https://example.org/disk.iso",
        "ariacluster add --input-file list.txt --to isos --tag disk=big",
        "ariacluster add --not-before 22:00 https://example.org/big.tar",
        "ariacluster add debian.torrent 'magnet:?xt=urn:btih:…' --paused",
        "grep iso links.txt | ariacluster add --input-file - --priority low",
        "ariacluster add https://a.example/f.zip --mirror https://b.example/f.zip --checksum sha-256=…",
    ]
    command(app, "add", examples=examples)(add)
    command(app, "create", hidden=True, examples=["ariacluster create https://example.org/disk.iso"])(add)


async def add(
    invocation: Invocation,
    urls: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="URL",
            help="http, https, ftp, sftp or magnet, or a .torrent, .metalink or .meta4 file; a task for each.",
        ),
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
    max_attempts: Annotated[
        int | None, typer.Option("--max-attempts", metavar="N", min=1, help="Tries before it is given up.")
    ] = None,
    paused: Annotated[bool, typer.Option("--paused", help="Put aside until it is resumed.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Even if another task fetches the same.")] = False,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Show the progress until all have ended; Ctrl-C leaves them running.")
    ] = False,
) -> int:
    """Submit downloads: a task for each URL, file, or line of a list. The cluster picks the node.

    One that is refused stops no other. What another task fetches already is refused with the name of that task.
    """
    common = TaskCreate(
        out=out,
        dir=to or "",
        options=pairs(option or [], "--option"),
        headers=header or [],
        checksum=checksum,
        priority=priority.lower(),
        tags=pairs(tag or [], "--tag"),
        prefer_tags=pairs(prefer_tag or [], "--prefer-tag"),
        node=node,
        max_attempts=max_attempts,
        not_before=None if not_before is None else moment(not_before, "--not-before"),
        paused=paused,
        force=force,
    )
    wanted = asked(urls or [], mirror or [], common)
    if input_file is not None:
        wanted.extend(listed(input_file, common))
    if not wanted and input_file is None:
        raise typer.BadParameter(
            "Give a URL or a .torrent file, or a list of them with --input-file.", param_hint="URL"
        )
    if len(wanted) > 1 and (out is not None or checksum is not None):
        raise typer.BadParameter(
            "It fits one file only, and here are several.", param_hint="--out" if out else "--checksum"
        )
    if not wanted:
        invocation.output.note("The list is empty: nothing was added.")
    return await _submit(invocation, wanted, watch)


async def _submit(invocation: Invocation, wanted: list[Wanted], watch: bool) -> int:
    output = invocation.output
    quiet = watch and (output.live or not output.for_people)
    async with invocation.client() as client:
        whole = watch or output.kind == "json"
        added = await submit(client, wanted, output, whole=whole, told=not quiet)
        if watch and added.tasks:
            return await watched.these(invocation, client, added.tasks) or added.code
    if output.kind == "json":
        output.document(added.tasks)
    return added.code
