"""One link to a peer: a stream of bytes, first a handshake, then frames of messages. Sans-IO and deterministic.

On the wire everything is a length (4 bytes, big-endian) and that many bytes: one handshake message of each side with a hello
inside, then frames (session.py). An empty frame is a sign of life. Nothing is parsed before its tag was verified, and what
cannot be verified, or is longer than is due at that moment, closes this stream and touches nothing else.
"""

import enum
import struct
from collections.abc import Callable
from typing import Protocol

import msgspec

from .messages import MAX_FRAME_BYTES, Message, decode
from .session import TAG_BYTES, Cipher, Handshake, NotAuthentic

VERSION = 1
"""Of hello and messages. It is read before anything else of the hello is."""

MAX_STRANGER_BYTES = 256
"""A length beyond it is refused until the peer is authenticated."""

MAX_NODE_ID_BYTES = 64

HANDSHAKE_S = 3.0
"""From the open stream to the established link."""

DIAL_S = 4.0
"""Until the stream is open. The wire gives up earlier by itself, if it is a good one."""

PING_AFTER_S = 1.0
SILENT_AFTER_S = 3.0
"""Three pings were lost: the connection is half-dead. TCP alone would notice only after it had swallowed votes for minutes."""

MAX_BACKLOG_BYTES = 16 * 1024 * 1024
"""Queued and unsent: a peer that is so far behind does not read."""

_LIST_HEADER_BYTES = 5
"""At most, around the messages of a frame (MessagePack, array 32)."""

_length = struct.Struct(">I")
_encode = msgspec.msgpack.Encoder().encode


class Stream(Protocol):
    """A connection. None of its calls comes back as a call of its handler before it has returned."""

    def write(self, data: bytes) -> None: ...

    def close(self) -> None:
        """At once, whatever is unsent. It may be called again."""

    @property
    def unsent(self) -> int:
        """Bytes that the kernel has not taken yet."""


class StreamHandler(Protocol):
    """What happens to a connection. `opened` or `failed` of one that was dialed; `lost` once, also after `close`, or never."""

    def opened(self, stream: Stream) -> None: ...
    def failed(self) -> None: ...
    def received(self, data: bytes) -> None: ...
    def lost(self) -> None: ...


class Wire(Protocol):
    def dial(self, address: str, handler: StreamHandler) -> None:
        """`address` is host:port or [IPv6]:port. Never raises: `opened` or `failed` comes later."""


class Hello(msgspec.Struct, frozen=True):
    """Who speaks; in both handshake messages, encrypted. `port`: where it listens, 0 if nowhere."""

    version: int
    node: str
    port: int


class _Version(msgspec.Struct, frozen=True):
    version: int


_decode_version = msgspec.msgpack.Decoder(_Version).decode
_decode_hello = msgspec.msgpack.Decoder(Hello).decode


class State(enum.Enum):
    DIALING = enum.auto()
    HANDSHAKING = enum.auto()
    ESTABLISHED = enum.auto()
    CLOSED = enum.auto()


class Owner(Protocol):
    """What a link tells the one who keeps it, from within `opened`, `failed`, `received` and `lost` only."""

    def refuses(self, link: "Link", peer: str) -> str | None:
        """A reason not to speak with `peer`, who has just said hello."""

    def established(self, link: "Link") -> None: ...
    def spoke(self, link: "Link", messages: list[Message]) -> None: ...
    def closed(self, link: "Link", reason: str, *, suspect: bool) -> None:
        """`suspect`: the other end is to blame, a person should hear of it."""


class Link:
    """Fills `StreamHandler`. `peer` is whom it was dialed for; if accepted, what its hello said (proven once established)."""

    def __init__(
        self,
        owner: Owner,
        hello: Hello,
        handshake: Handshake,
        clock: Callable[[], float],
        *,
        where: str,
        peer: str | None = None,
        stream: Stream | None = None,
    ) -> None:
        self.where = where  # the address that was dialed, or the host that it came from
        self.peer = peer
        self.port = 0
        self.dialed = stream is None
        self.state = State.DIALING if stream is None else State.HANDSHAKING
        self.established_at = 0.0
        self._owner = owner
        self._hello = hello
        self._handshake = handshake
        self._clock = clock
        self._stream = stream
        self._sending: Cipher
        self._receiving: Cipher | None = None
        self._held = bytearray()  # the beginning of what has not come whole
        self._due_bytes = 0  # as long as fewer are held there is nothing to do
        self._queue: list[msgspec.Raw] = []
        self._queued_bytes = 0
        self._said_at = self._heard_at = self._since = clock()

    @property
    def is_open(self) -> bool:
        """There is a stream."""
        return self.state in (State.HANDSHAKING, State.ESTABLISHED)

    # ── what the wire says ──────────────────────────────────────────────────────────────────────────────────────────────

    def opened(self, stream: Stream) -> None:
        if self.state is not State.DIALING:
            stream.close()
            return
        self._stream = stream
        self.state = State.HANDSHAKING
        self._since = self._clock()
        stream.write(_framed(self._handshake.write(_encode(self._hello))))

    def failed(self) -> None:
        self._end("it cannot be reached")

    def lost(self) -> None:
        if self.dialed and self.state is State.HANDSHAKING:
            self._end("it hung up in the handshake: if that goes on, it has another key, or is no node", suspect=True)
        else:
            self._end("the connection was lost")

    def received(self, data: bytes) -> None:
        """However the bytes are cut. Frames are handed over as they come to light; none after the link was closed."""
        if not self.is_open:
            return
        self._heard_at = self._clock()
        chunk: bytes | bytearray = data
        if self._held:
            self._held += data
            if len(self._held) < self._due_bytes:
                return
            chunk = self._held
        position, end = 0, len(chunk)
        self._due_bytes = _length.size
        try:
            with memoryview(chunk) as view:
                while end - position >= _length.size:
                    (size,) = _length.unpack_from(view, position)
                    known = self.state is State.ESTABLISHED
                    if not TAG_BYTES <= size <= (MAX_FRAME_BYTES + TAG_BYTES if known else MAX_STRANGER_BYTES):
                        self._end("it sent what is no frame", suspect=True)
                        return
                    start, after = position + _length.size, position + _length.size + size
                    if after > end:
                        self._due_bytes = after - position
                        break
                    position = after  # before anybody is told: what is told may raise
                    if self._receiving is None:
                        self._shake_hands(bytes(view[start:after]))
                    else:
                        self._take(self._receiving.decrypt(view[start:after]))
                    if not self.is_open:
                        return
        except NotAuthentic:
            self._end("it does not have this cluster's key, or the bytes were changed on their way", suspect=True)
        finally:
            if not self.is_open:
                self._held = bytearray()
            elif position or chunk is data:
                self._held = bytearray(memoryview(chunk)[position:])

    # ── what the owner says ─────────────────────────────────────────────────────────────────────────────────────────────

    def send(self, message: Message) -> None:
        """Queue it for `flush`. ValueError if it would not fit a frame."""
        body = _encode(message)
        if len(body) > MAX_FRAME_BYTES - _LIST_HEADER_BYTES:
            raise ValueError(f"a message of {len(body)} bytes does not fit a frame")
        self._queue.append(msgspec.Raw(body))
        self._queued_bytes += len(body)

    def flush(self) -> None:
        """All that is queued, in one write."""
        queue, self._queue, self._queued_bytes = self._queue, [], 0
        if not queue:
            return
        first, size = 0, _LIST_HEADER_BYTES
        for place, body in enumerate(queue):
            size += len(body)
            if size > MAX_FRAME_BYTES:
                self._write(_encode(queue[first:place]))
                first, size = place, _LIST_HEADER_BYTES + len(body)
        self._write(_encode(queue[first:] if first else queue))

    @property
    def backlog(self) -> int:
        """Bytes queued and unsent."""
        return self._queued_bytes + (self._stream.unsent if self._stream else 0)

    def overdue(self, now: float) -> str | None:
        """Why it should be closed, as time has passed. An idle link says something here."""
        if self.state is State.ESTABLISHED:
            if now - self._heard_at >= SILENT_AFTER_S:
                return "it said nothing for 3 s"
            if self.backlog > MAX_BACKLOG_BYTES:
                return "it does not read what it is sent"
            if now - self._said_at >= PING_AFTER_S:
                self._write(b"")
        elif self.state is State.DIALING and now - self._since >= DIAL_S:
            return "it cannot be reached"
        elif self.state is State.HANDSHAKING and now - self._since >= HANDSHAKE_S:
            return "it did not finish the handshake"
        return None

    def excuse(self, seconds: float, now: float) -> None:
        """This end was asleep for so long, until `now`: that was no silence of the other one."""
        self._heard_at = min(now, self._heard_at + seconds)
        self._since = min(now, self._since + seconds)

    def close(self) -> None:
        """At once; the owner is not told, for it is the one who says so."""
        self.state = State.CLOSED
        self._queue, self._queued_bytes = [], 0
        if self._stream is not None:
            self._stream.close()

    # ── inside ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _shake_hands(self, message: bytes) -> None:
        payload = self._handshake.read(message)
        reason = self._read_hello(payload)
        if reason is not None:
            self._end(reason, suspect=True)
            return
        if not self.dialed:
            self._say(self._handshake.write(_encode(self._hello)))
        self._sending, self._receiving = self._handshake.split()
        if self.dialed:
            # The responder cannot know that the first message was no replay until a frame comes: so one goes at once.
            self._write(b"")
            self._establish()

    def _read_hello(self, payload: bytes) -> str | None:
        try:
            version = _decode_version(payload).version
            if version != VERSION:
                return f"it speaks version {version} of the protocol, this node speaks {VERSION}: update the older one"
            hello = _decode_hello(payload)
        except msgspec.DecodeError:
            return "its hello makes no sense"
        if not 0 < len(hello.node.encode()) <= MAX_NODE_ID_BYTES or not 0 <= hello.port <= 0xFFFF:
            return "its hello makes no sense"
        reason = self._owner.refuses(self, hello.node)
        if reason is None:
            self.peer, self.port = hello.node, hello.port
        return reason

    def _take(self, frame: bytes) -> None:
        if self.state is State.HANDSHAKING:
            self._establish()
        if not frame or self.state is not State.ESTABLISHED:
            return
        try:
            messages = decode(frame)
        except (msgspec.DecodeError, RecursionError):
            self._end("it sent a frame that does not decode: is its version another one?", suspect=True)
            return
        self._owner.spoke(self, messages)

    def _establish(self) -> None:
        self.state = State.ESTABLISHED
        self.established_at = self._clock()
        self._owner.established(self)

    def _write(self, frame: bytes) -> None:
        self._say(self._sending.encrypt(frame))

    def _say(self, content: bytes) -> None:
        assert self._stream is not None
        self._said_at = self._clock()
        self._stream.write(_framed(content))

    def _end(self, reason: str, *, suspect: bool = False) -> None:
        if self.state is not State.CLOSED:
            self.close()
            self._owner.closed(self, reason, suspect=suspect)


def _framed(content: bytes) -> bytes:
    return _length.pack(len(content)) + content
