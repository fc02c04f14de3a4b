"""The lab for people: one verb a call, on a lab that stays until `down`."""

import argparse
import asyncio
import os
import shutil
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from . import lab as lan
from .door import LabError
from .host import Host, Refused
from .lab import Lab
from .machine import ROOT

FOLDER = ROOT / "run" / "lab"
_ALL = "all"
_HOST = "HOST is a name as `ps` shows it, its number, or `all` where that makes sense."


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0 done, 1 refused or failed, 2 usage; of `exec` that of the command."""
    words = _parser().parse_args(arguments)
    try:
        return int(asyncio.run(words.verb(words)) or 0)
    except (LabError, Refused, aiohttp.ClientError, TimeoutError) as error:
        sys.stderr.write(f"{error or type(error).__name__}\n")
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/lab", description="A LAN of hosts on this machine.", epilog=_HOST)
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the lab is, %(default)s if nothing is said")
    verbs = parser.add_subparsers(metavar="VERB", required=True)

    def verb(name: str, does: Callable[[Any], Awaitable[int | None]], help: str, *arguments: str) -> Any:
        made = verbs.add_parser(name, help=help, description=help, epilog=_HOST)
        made.set_defaults(verb=does)
        for argument in arguments:
            made.add_argument(argument, metavar=argument.upper())
        return made

    made = verb("up", _up, "make the LAN, hosts without nodes")
    made.add_argument("count", metavar="N", nargs="?", type=int, default=3)
    made.add_argument("--ipv6-only", action="store_true", help="no IPv4 addresses")
    made.add_argument("--no-ula", action="store_true", help="of IPv6 only link-local addresses")
    made.add_argument("--keep", action="store_true", help="go on with the folders that the last lab left")
    verb("down", _down, "end the LAN and all on it; the folders of the hosts stay until the next `up`")
    verb("ps", _ps, "each host with its address, its node's process, and what that says of its cluster")
    made = verb("start", _start, "start a host's node as `ariacluster up FLAGS` does", "host")
    made.add_argument("flags", metavar="FLAGS", nargs=argparse.REMAINDER)
    verb("stop", _each(Host.stop), "end a host's node in order (SIGTERM)", "host")
    verb("kill", _each(Host.kill), "kill -9 of all that runs on a host", "host")
    verb("pause", _each(Host.pause), "let all that runs on a host stand still (SIGSTOP)", "host")
    verb("resume", _each(Host.resume), "let it go on", "host")
    verb("wipe", _each(Host.wipe), "stop a host's node and remove its data folder", "host")
    made = verb("cut", _cut, "let nothing through from A to B nor back; of A alone: to and from nobody", "a")
    made.add_argument("b", metavar="B", nargs="?")
    made.add_argument("--one-way", action="store_true", help="only from A to B")
    made = verb("heal", _heal, "undo the cuts between A and B, those of A, or all")
    made.add_argument("a", metavar="A", nargs="?")
    made.add_argument("b", metavar="B", nargs="?")
    verb("shape", _shape, "bound a host's uplink and downlink: 20mbit; 0 for no bound", "host", "rate")
    made = verb("multicast", _multicast, "what becomes of mDNS packets from and to a host", "host")
    made.add_argument("setting", metavar="on|off|drop PERCENT", nargs="+")
    made = verb("address", _address, "show a host's address, or give it another as DHCP may", "host")
    made.add_argument("address", metavar="ADDRESS", nargs="?")
    verb("link", _link, "a host's interface down or up", "host", "state")
    verb("clone", _clone, "copy a host's data folder to another, whose node is stopped", "source", "target")
    verb("split", _split, "put hosts on a switch of their own; none: all on one again").add_argument(
        "hosts", metavar="HOST", nargs="*"
    )
    verb("bridge", _bridge, "a wire between the two switches")
    verb("exec", _exec, "run a command on a host", "host").add_argument(
        "command", metavar="CMD", nargs=argparse.REMAINDER
    )
    verb("logs", _logs, "what a host's nodes have written", "host").add_argument("-f", "--follow", action="store_true")
    made = verb("api", _api, "a request to the node of a host: GET /status", "host", "method", "path")
    made.add_argument("json", metavar="JSON", nargs="?")
    return parser


async def _up(words: Any) -> None:
    if lan.holder_in(words.folder):
        raise LabError("a lab runs already: see `ps`, or end it with `down`")
    if not words.keep:
        shutil.rmtree(words.folder / "hosts", ignore_errors=True)
    lan.start_holder(words.folder, ipv6_only=words.ipv6_only, ula=not words.no_ula, leashed=False)
    lab = await Lab.attach(words.folder)
    for number in range(1, words.count + 1):
        await lab.add(f"host{number}")
    await _ps(words)


async def _down(words: Any) -> None:
    await (await Lab.attach(words.folder)).down()


async def _ps(words: Any) -> None:
    lab = await Lab.attach(words.folder)
    said = await lab.said()
    rows = [("HOST", "ADDRESS", "IPV6", "PID", "NODE", "CLUSTER")]
    for host in lab.hosts:
        facts = host.facts
        off = "off" if facts.code is None else f"ended with {facts.code}"
        node = "paused" if facts.paused else "running" if facts.running else off
        rows.append(
            (
                host.name,
                facts.address or "-",
                facts.ula or "-",
                str(facts.pid or "-"),
                node,
                _told(said[host.name]) if host.name in said else "",
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        _say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _told(status: Any) -> str:
    if not status:
        return "no answer, or none yet"
    cluster = status["cluster"]
    leader = cluster["leader"]["name"] if cluster["leader"] else "nobody"
    quorum = "" if cluster["has_quorum"] else ", no quorum"
    return f"{cluster['id']}: {cluster['members']} members, led by {leader} (term {cluster['term']}){quorum}"


def _each(does: Callable[[Host], Awaitable[Any]]) -> Callable[[Any], Awaitable[int]]:
    async def to_all(words: Any) -> int:
        results = await asyncio.gather(*map(does, await _hosts(words)), return_exceptions=True)
        failures = [result for result in results if isinstance(result, BaseException)]
        for failure in failures:
            sys.stderr.write(f"{failure}\n")
        return len(failures) > 0

    return to_all


async def _start(words: Any) -> None:
    for host in await _hosts(words):
        await host.start(*(flag for flag in words.flags if flag != "--"))


async def _cut(words: Any) -> None:
    lab = await Lab.attach(words.folder)
    await lab.cut(lab.host(words.a), lab.host(words.b) if words.b else None, one_way=words.one_way)


async def _heal(words: Any) -> None:
    lab = await Lab.attach(words.folder)
    await lab.heal(lab.host(words.a) if words.a else None, lab.host(words.b) if words.b else None)


async def _shape(words: Any) -> None:
    for host in await _hosts(words):
        await host.shape(words.rate)


async def _multicast(words: Any) -> None:
    lab = await Lab.attach(words.folder)
    match words.setting:
        case ["on"] | ["off"]:
            setting: Any = words.setting[0]
        case ["drop", percent] if percent.isdecimal():
            setting = int(percent)
        case _:
            raise LabError("say: multicast HOST on, off, or drop PERCENT")
    await lab.multicast(setting, None if words.host == _ALL else lab.host(words.host))


async def _address(words: Any) -> None:
    host = await _host(words)
    if words.address:
        await host.readdress(words.address)
    else:
        _say(host.address)


async def _link(words: Any) -> None:
    if words.state not in ("up", "down"):
        raise LabError("say: link HOST up, or down")
    for host in await _hosts(words):
        await host.link(words.state == "up")


async def _clone(words: Any) -> None:
    lab = await Lab.attach(words.folder)
    await lab.clone(lab.host(words.source), lab.host(words.target))


async def _split(words: Any) -> None:
    lab = await Lab.attach(words.folder)
    await lab.split(*map(lab.host, words.hosts))


async def _bridge(words: Any) -> None:
    await (await Lab.attach(words.folder)).bridge()


async def _exec(words: Any) -> int:
    host = await _host(words)
    # A terminal's Ctrl-C is ours alone; the command ends because we hang up.
    return (await host.exec(*words.command, files=[0, 1, 2], env={"TERM": os.environ.get("TERM", "dumb")})).code


async def _logs(words: Any) -> None:
    host = await _host(words)
    program = ["tail", "-n", "+1", *["-F"] * words.follow, str(host.log)]
    os.execvp(program[0], program)


async def _api(words: Any) -> int:
    host = await _host(words)
    status, answer = await host.call(
        words.method.upper(), words.path, msgspec.json.decode(words.json) if words.json else None
    )
    _say(msgspec.json.format(msgspec.json.encode(answer), indent=2).decode())
    return status >= 400


async def _hosts(words: Any) -> list[Host]:
    lab = await Lab.attach(words.folder)
    return lab.hosts if words.host == _ALL else [lab.host(words.host)]


async def _host(words: Any) -> Host:
    return (await Lab.attach(words.folder)).host(words.host)


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
