"""All that aria2 says of one download that runs: pieces, files, servers and peers."""

from pathlib import Path
from typing import Any

import msgspec

from ariacluster_node.ports import Detail, DetailFile

from .rpc import Call, Refused, Rpc

MAX_FILES = 1_000
MAX_SERVERS = 100
"""Of those that are told: a torrent may have more than anybody looks at. Servers: the fastest."""

KEYS = [
    "status",
    "pieceLength",
    "numPieces",
    "bitfield",
    "files",
    "numSeeders",
    "uploadSpeed",
    "uploadLength",
    "followedBy",
]


class _File(msgspec.Struct, rename="camel"):
    path: str
    length: int = 0
    completed_length: int = 0
    selected: str = "true"


class _Status(msgspec.Struct, rename="camel"):
    """In aria2's own words; it sends its numbers as strings."""

    status: str
    piece_length: int = 0
    num_pieces: int = 0
    bitfield: str = ""
    files: list[_File] = []
    num_seeders: int = 0
    upload_speed: int = 0
    upload_length: int = 0
    followed_by: list[str] = []


async def detail_of(rpc: Rpc, gid: str, folder: Path) -> Detail | None:
    """Of the download that `gid` has become by now; None if it does not run. `folder` is where its files are."""
    status, servers, peers = await rpc.multicall(
        [Call("aria2.tellStatus", (gid, KEYS)), Call("aria2.getServers", (gid,)), Call("aria2.getPeers", (gid,))]
    )
    if isinstance(status, Refused):
        return None
    told = msgspec.convert(status, _Status, strict=False)
    if told.status != "active":
        return await detail_of(rpc, told.followed_by[0], folder) if told.followed_by else None
    return Detail(
        piece_length=told.piece_length,
        piece_count=told.num_pieces,
        pieces=told.bitfield,
        files=tuple(_file(file, folder) for file in told.files[:MAX_FILES]),
        servers=tuple(
            sorted(_servers(servers) + _peers(peers), key=lambda server: (-server[1], server[0]))[:MAX_SERVERS]
        ),
        seeders=told.num_seeders,
        upload_speed=told.upload_speed,
        uploaded=told.upload_length,
    )


def _file(file: _File, folder: Path) -> DetailFile:
    path = Path(file.path)
    name = str(path.relative_to(folder)) if path.is_relative_to(folder) else path.name
    return DetailFile(name, file.length, file.completed_length, file.selected == "true")


def _servers(answer: Any) -> list[tuple[str, int]]:
    """A refusal means that there are none: so it is for torrents."""
    if isinstance(answer, Refused):
        return []
    return [(s["currentUri"], int(s["downloadSpeed"])) for file in answer for s in file["servers"]]


def _peers(answer: Any) -> list[tuple[str, int]]:
    if isinstance(answer, Refused):
        return []
    return [(f"{peer['ip']}:{peer['port']}", int(peer["downloadSpeed"])) for peer in answer]
