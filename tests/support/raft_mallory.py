"""Somebody who dials a node and says what a node would not say."""

import os
import random
import struct
from collections.abc import Callable
from pathlib import Path

import msgspec

from ariacluster_node.adapters.raft.wire.link import Hello
from ariacluster_node.adapters.raft.wire.session import Cipher, Handshake
from tests.support.raft_wire import SECRET, Deaf, Lan, Node, framed


class Mallory:
    """Dials `target` by hand, with a key if one is given."""

    def __init__(self, lan: Lan, target: Node, secret: bytes = SECRET, host: str = "10.0.0.66") -> None:
        self.lan = lan
        self.heard = Deaf()
        end = lan.network.connect(host, target.address, self.heard)
        assert end is not None
        self.end = end
        self.handshake = Handshake(True, secret, entropy=random.Random(66).randbytes)
        self.sending: Cipher

    def say(self, data: bytes) -> None:
        self.end.write(data)
        self.lan.network.run()

    def hello(self, payload: bytes) -> None:
        self.say(framed(self.handshake.write(payload)))

    def enter(self, name: str = "m") -> None:
        """As a member, who has the key."""
        self.hello(msgspec.msgpack.encode(Hello(1, name, 0)))
        answer = self.heard.heard
        (size,) = struct.unpack(">I", answer[:4])
        self.handshake.read(answer[4 : 4 + size])
        self.sending, _ = self.handshake.split()
        self.frame(b"")

    def frame(self, plaintext: bytes) -> None:
        self.say(framed(self.sending.encrypt(plaintext)))

    @property
    def is_out(self) -> bool:
        return self.heard.is_lost


class Bomb:
    """Unpickled, it leaves a mark."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return os.mkdir, (str(self.mark),)
