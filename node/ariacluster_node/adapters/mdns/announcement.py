"""A node as its service entry tells it (RFC 6763): to the wire, and from it with nothing believed.

The instance is named by the node id; TXT holds `id`, `name`, `cluster`, `cid` (empty while it belongs to no cluster), `ver`,
`port` and, where it is told, `raft`, the port of the consensus; of its cluster `n`, how many are in it, `born`, `lone` (`1`)
and `was`; of a node without one `inv` (`1`), if it is `invited` (see `Heard`). What is at its default is left out, and unknown
keys are those of later versions. The SRV record repeats the API's port.
"""

import re
from collections.abc import Mapping

from ariacluster.domain.errors import InvalidInput
from ariacluster.domain.formation import Heard

SERVICE = "_ariacluster._tcp.local."

_NODE_ID = re.compile(r"[0-9a-f]{16}")
_TOKEN = re.compile(r"[0-9A-Za-z._+-]{0,64}")
"""Cluster ids and versions."""
_NUMBER = re.compile(r"[1-9][0-9]{0,14}")
"""Ports, members, and times, which in milliseconds have 13 digits until the year 2286."""

_MOST_MEMBERS = 10_000
_LATEST_MS = 10**15 - 1

_MAX_TEXT_BYTES = 200
"""For names. A TXT string has 255 bytes, and the key is in it (RFC 6763 section 6.1)."""


def entry_name(node_id: str) -> str:
    return f"{node_id}.{SERVICE}"


def host(node_id: str) -> str:
    """The host record that the entry points to: one per node, for several nodes of one machine may have other addresses."""
    return f"ariacluster-{node_id}.local."


def to_txt(mine: Heard) -> dict[str, bytes]:
    """`InvalidInput` if it does not fit; a long node name is cut, since it is only for people."""
    txt = {
        "id": mine.node_id,
        "name": mine.node_name.encode()[:_MAX_TEXT_BYTES].decode(errors="ignore"),
        "cluster": mine.cluster_name,
        "cid": mine.cluster_id,
        "ver": mine.version,
        "port": str(mine.port),
    }
    numbers = {
        "raft": mine.raft_port,
        "n": mine.members,
        "born": mine.born,
        "lone": int(mine.lone),
        "inv": int(mine.invited),
    }
    for key, number in numbers.items():
        if number:
            txt[key] = str(number)
    if mine.was:
        txt["was"] = mine.was
    encoded = {key: value.encode() for key, value in txt.items()}
    if from_txt(entry_name(mine.node_id), {k.encode(): v for k, v in encoded.items()}, mine.port, mine.address) is None:
        raise InvalidInput(
            "The node's id, name, cluster, port or version cannot be announced: too long or unprintable."
        )
    return encoded


def from_txt(entry: str, txt: Mapping[bytes, bytes | None], port: int | None, address: str) -> Heard | None:
    """The node that an entry tells of, or None if anything about it is not as `to_txt` writes it."""
    node_id = _text(txt, b"id")
    node_name, cluster_name = _text(txt, b"name"), _text(txt, b"cluster")
    cluster_id, version = _text(txt, b"cid"), _text(txt, b"ver")
    if not node_id or not _NODE_ID.fullmatch(node_id) or entry.lower() != entry_name(node_id).lower():
        return None
    if not node_name or not cluster_name or cluster_id is None or version is None:
        return None
    if not _TOKEN.fullmatch(cluster_id) or not _TOKEN.fullmatch(version):
        return None
    if not port or not 0 < port < 65536 or _text(txt, b"port") != str(port):
        return None
    raft_port, members = _number(txt, b"raft", 65535), _number(txt, b"n", _MOST_MEMBERS)
    born, lone, invited = _number(txt, b"born", _LATEST_MS), _number(txt, b"lone", 1), _number(txt, b"inv", 1)
    was = _text(txt, b"was") if b"was" in txt else ""
    if raft_port is None or members is None or born is None or lone is None or invited is None:
        return None
    if was is None or not _TOKEN.fullmatch(was):
        return None
    return Heard(
        node_id=node_id,
        node_name=node_name,
        cluster_name=cluster_name,
        cluster_id=cluster_id,
        address=address,
        port=port,
        raft_port=raft_port,
        version=version,
        members=members,
        born=born,
        lone=lone == 1,
        was=was,
        invited=invited == 1,
    )


def _number(txt: Mapping[bytes, bytes | None], key: bytes, most: int) -> int | None:
    """0 if it is missing, None if it is not a number from 1 to `most` as we write it."""
    if key not in txt:
        return 0
    text = _text(txt, key)
    return int(text) if text and _NUMBER.fullmatch(text) and int(text) <= most else None


def _text(txt: Mapping[bytes, bytes | None], key: bytes) -> str | None:
    """None if it is missing, too long, or no printable UTF-8. `key=` is empty, `key` alone is missing."""
    value = txt.get(key)
    if value is None or len(value) > _MAX_TEXT_BYTES:
        return None
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return None
    return text if text.isprintable() else None
