"""The aria2c that a node on this machine would use."""

import asyncio
from pathlib import Path

import msgspec

from ariacluster.domain.errors import StartFailed
from ariacluster_node.adapters.aria2.locate import locate

from .finding import Finding, names, ok, problem, warning

CHECK = "aria2c"

_ANSWER_S = 3.0

NEEDED = {"HTTPS": "https downloads", "BitTorrent": "torrents and magnet links", "Metalink": "metalinks"}
"""What aria2 calls a feature, and what is lost without it."""


class Engine(msgspec.Struct, frozen=True, kw_only=True):
    """`features`: as the program lists them. `wrong`: why no program was found that will do."""

    path: Path = Path()
    version: str = ""
    features: tuple[str, ...] = ()
    wrong: str = ""


async def look(told: Path | None) -> Engine:
    try:
        program = await locate(told)
    except StartFailed as error:
        return Engine(wrong=error.detail)
    return Engine(path=program.path, version=program.version, features=features(await _about(program.path)))


def features(about: str) -> tuple[str, ...]:
    """What `aria2c --version` lists."""
    for line in about.splitlines():
        title, _, listed = line.partition(":")
        if title == "Enabled Features":
            return tuple(feature.strip() for feature in listed.split(","))
    return ()


def judge(engine: Engine) -> list[Finding]:
    if engine.wrong:
        return [problem(CHECK, engine.wrong, "Or name a program that will do with --aria2c.")]
    says = f"{engine.path} is aria2 {engine.version}"
    missing = [feature for feature in NEEDED if feature not in engine.features]
    if missing:
        lost = names(NEEDED[feature] for feature in missing)
        return [
            warning(
                CHECK,
                f"{says}, built without {names(missing)}: {lost} fail on this machine.",
                "Install a build that has everything, or name another program with --aria2c.",
            )
        ]
    return [ok(CHECK, f"{says}, with {names(NEEDED)}.")]


async def _about(path: Path) -> str:
    process = await asyncio.create_subprocess_exec(
        path, "--no-conf", "--version", stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        out, _ = await asyncio.wait_for(process.communicate(), _ANSWER_S)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return out.decode(errors="replace")
