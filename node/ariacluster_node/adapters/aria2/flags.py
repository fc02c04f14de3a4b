"""The command line of aria2c, and why. Source: aria2 manual, "OPTIONS"."""

import os
from pathlib import Path

import msgspec

BT_PORTS = "6881-6999"
"""What BitTorrent clients use, and firewalls know. aria2 takes a random free one when its first torrent begins, so that
several nodes fit on a machine."""

CONNECTIONS, SPLIT = 16, 8
"""Of a download, where its task says nothing: to one server at most, and over all of its mirrors."""


class Tuning(msgspec.Struct, frozen=True, kw_only=True):
    """What the owner of a node may set of its engine.

    `listen_port`: for BitTorrent, TCP and UDP; None lets aria2 take a free one of `BT_PORTS`. `dht` and `lpd`
    talk to strangers: the public DHT, and multicast on this LAN.
    """

    slots: int = 5
    dht: bool = True
    lpd: bool = True
    listen_port: int | None = None


def command_line(tuning: Tuning, *, data: Path, secret_file: Path, rpc_port: int) -> list[str]:
    """All flags but the program's own. The secret is in `secret_file`: any user may read a command line."""
    bt_ports = tuning.listen_port or BT_PORTS
    return [
        f"--conf-path={secret_file}",  # also keeps the user's own aria2.conf out
        "--no-netrc=true",  # logins of the node's owner are not for whoever submits a task
        "--quiet=true",
        f"--dir={data}",  # never used: every job brings its folder
        # how we speak to it
        "--enable-rpc=true",
        "--rpc-listen-all=false",
        f"--rpc-listen-port={rpc_port}",
        "--rpc-max-request-size=64M",  # a large .torrent travels in one request
        f"--stop-with-process={os.getpid()}",  # looked at every second or two: no orphan outlives us
        f"--max-concurrent-downloads={tuning.slots}",
        "--max-download-result=10000",  # what ended must stay listed until the worker has seen it
        # resuming: with its control file a download goes on, without one it begins anew. `continue` would trust the
        # length of any file that lies there, and splice.
        "--continue=false",
        "--allow-overwrite=true",
        "--auto-file-renaming=true",  # only for two files of one name in one Metalink document
        "--auto-save-interval=1",
        "--file-allocation=none",  # size is progress, and nothing is written twice
        # speed
        f"--max-connection-per-server={CONNECTIONS}",
        f"--split={SPLIT}",
        "--timeout=20",  # else a connection from an address that this machine has no more is waited for a minute
        "--min-split-size=1M",
        # what a download brings along
        "--follow-torrent=mem",
        "--follow-metalink=mem",
        "--seed-time=0",
        f"--enable-dht={_word(tuning.dht)}",
        f"--dht-file-path={data / 'dht.dat'}",
        f"--dht-listen-port={bt_ports}",
        f"--listen-port={bt_ports}",
        f"--bt-enable-lpd={_word(tuning.lpd)}",
    ]


def _word(value: bool) -> str:
    return "true" if value else "false"
