"""All links of this node: whom to dial when, and which link to a peer stays. Sans-IO and deterministic.

One link a peer. Both ends may dial at once, and each must come to the same answer by itself, without asking:

* Of two links that were dialed by different ends, the one dialed by the smaller node id stays. Any order would do that both
  ends see alike; who dialed is such a thing, the time at which a link was established is not.
* Of two links that were dialed by the same end, the newer stays: nobody dials whom it has a link to, so its dialer has
  given the older one up, even if this end has not heard of it yet.
* Once there is a link, own attempts to dial that peer are given up. That cannot leave both without one: an attempt that is
  given up was not established here, so it is not established there either.

The order of dialing follows: the smaller id dials at once, the larger one only after a while without a link, for the case
that the smaller one does not know its address, or that a firewall lets one direction through only.
"""

from collections.abc import Callable, Collection

import structlog

from .link import MAX_NODE_ID_BYTES, VERSION, Hello, Link, State, Stream, StreamHandler, Wire
from .messages import Message
from .session import Handshake

__all__ = ["CONGESTED_BYTES", "Links", "Stream", "StreamHandler", "Wire"]

CONGESTED_BYTES = 1024 * 1024
"""Four full batches: more only makes what comes behind them wait."""

MAX_STRANGERS = 64
"""Accepted streams that are not authenticated yet; a handshake takes milliseconds."""

FIRST_RETRY_S = 0.2
LAST_RETRY_S = 2.0
LARGER_WAITS_S = 0.3
STEADY_S = 2.0
"""A link that lived shorter does not make the next attempt an immediate one: two nodes of one id would chase each other."""

SWEEP_S = 0.05
"""How exact the times are."""

ASLEEP_S = 1.0
"""If nobody called `tick` for longer, this node was asleep, and the silence is not the peers' fault."""

MAX_COMPLAINTS = 1000

log = structlog.get_logger()


class _Peer:
    """When to dial a node next."""

    def __init__(self, due: float) -> None:
        self.due = due
        self.retry_s = FIRST_RETRY_S
        self.attempt: Link | None = None


class Links:
    """Calls back from `tick`, `close` and the stream handlers only, never from `send`, `flush`, `want`, `learn` or `accepted`.

    `on_connected` and `on_disconnected` alternate for each peer, and `on_messages` comes between them only. What a callback
    raises goes through to whoever called; the links are in order then.
    """

    def __init__(
        self,
        me: str,
        *,
        secret: bytes,
        port: int,
        wire: Wire,
        clock: Callable[[], float],
        entropy: Callable[[int], bytes],
        on_connected: Callable[[str], None],
        on_disconnected: Callable[[str], None],
        on_messages: Callable[[str, list[Message]], None],
    ) -> None:
        """`secret`: 32 bytes, the same on all nodes of this cluster and on no other. `port`: where others can dial this
        node, 0 if nowhere. `clock`: monotonic seconds."""
        if not 0 < len(me.encode()) <= MAX_NODE_ID_BYTES:
            raise ValueError(f"a node id has 1 to {MAX_NODE_ID_BYTES} bytes")
        self.me = me
        self.addresses: dict[str, str] = {}
        self._secret = secret
        self._hello = Hello(VERSION, me, port)
        self._wire = wire
        self._clock = clock
        self._entropy = entropy
        self._on_connected = on_connected
        self._on_disconnected = on_disconnected
        self._on_messages = on_messages
        self._serial = 0
        self._serials: dict[Link, int] = {}  # every link that is not closed, in the order in which they began
        self._strangers: dict[Link, None] = {}  # those accepted and not authenticated, the oldest first
        self._established: dict[str, Link] = {}
        self._connected: frozenset[str] = frozenset()
        self._unflushed: dict[Link, None] = {}
        self._wanted: dict[str, _Peer] = {}
        self._wants_everybody = False
        self._complaints: set[tuple[str, str]] = set()
        self._swept_at = clock()
        self._sweep_due = self._swept_at
        self._is_closed = False

    @property
    def connected(self) -> frozenset[str]:
        return self._connected

    def accepted(self, stream: Stream, host: str) -> StreamHandler:
        """A connection came in from `host`, an IP address."""
        link = self._begin(host, stream=stream)
        if self._is_closed:
            self._forget(link)
            return link
        while len(self._strangers) >= MAX_STRANGERS:
            oldest = next(iter(self._strangers))
            self._complain(oldest.where, "too many connections of strangers are open: the oldest ones are closed")
            self._forget(oldest)
        self._strangers[link] = None
        return link

    def learn(self, node: str, address: str) -> None:
        """Where `node` can be dialed; replaces what was known."""
        if self.addresses.get(node) == address:
            return
        self._note_address(node, address)
        peer = self._wanted.get(node)
        if peer is not None:
            if peer.attempt is not None:
                self._forget(peer.attempt)
            if self.me < node:
                peer.due = self._clock()
            peer.retry_s = FIRST_RETRY_S
            self._sweep_due = self._clock()

    def want(self, nodes: Collection[str] | None) -> None:
        """Keep links with these; None: with everybody whose address is known, or will be. A link to another node stays as
        long as it lives, for that one may want it."""
        self._wants_everybody = nodes is None
        wanted = set(self.addresses if nodes is None else nodes) - {self.me}
        if wanted == self._wanted.keys():
            return
        for node, peer in self._wanted.items():
            if node not in wanted and peer.attempt is not None:
                self._forget(peer.attempt)
        self._wanted = {node: self._wanted.get(node) or self._new_peer(node) for node in sorted(wanted)}
        self._sweep_due = self._clock()

    def send(self, node: str, message: Message) -> bool:
        """Queue it for `flush`; False if there is no link. ValueError if it is longer than a frame."""
        link = self._established.get(node)
        if link is None:
            return False
        link.send(message)
        self._unflushed[link] = None
        return True

    def flush(self) -> None:
        """Hand everything queued to the streams: one frame a peer, more only if it is too much for one."""
        unflushed, self._unflushed = self._unflushed, {}
        for link in unflushed:
            link.flush()

    def congested(self, node: str) -> bool:
        """Send nothing big now: more than `CONGESTED_BYTES` wait, or there is no link."""
        link = self._established.get(node)
        return link is None or link.backlog > CONGESTED_BYTES

    def tick(self) -> None:
        """Time has passed: call it after every input, and several times a second."""
        now = self._clock()
        if now < self._sweep_due or self._is_closed:
            return
        asleep, self._swept_at, self._sweep_due = now - self._swept_at, now, now + SWEEP_S
        for link in list(self._serials):
            if asleep > ASLEEP_S:
                link.excuse(asleep, now)
            reason = None if link.state is State.CLOSED else link.overdue(now)
            if reason is not None:
                link.close()
                self.closed(link, reason, suspect=False)
        for node, peer in list(self._wanted.items()):
            if peer.attempt is None and now >= peer.due and node not in self._established and node in self.addresses:
                self._dial(node, peer)

    def close(self) -> None:
        """Close all links, and open none any more."""
        self._is_closed = True
        links = list(self._serials)
        for link in links:
            link.close()
        for link in links:
            self.closed(link, "this node stops", suspect=False)

    # ── what the links say (fills `Owner`) ──────────────────────────────────────────────────────────────────────────────

    def refuses(self, link: Link, peer: str) -> str | None:
        if peer == self.me:
            return "it has the id of this node: is it this node, or was a data folder copied?"
        if link.peer is not None and link.peer != peer:
            return f"it is not {link.peer}, who was expected there, but {peer}"
        return None

    def established(self, link: Link) -> None:
        node = link.peer
        assert node is not None
        self._strangers.pop(link, None)
        rival = self._established.get(node)
        if rival is not None and not self._outranks(link, rival, node):
            self._forget(link)
            return
        if not link.dialed and link.port:
            host = f"[{link.where}]" if ":" in link.where else link.where
            self._note_address(node, f"{host}:{link.port}")
        peer = self._wanted.get(node)
        attempt = peer.attempt if peer else None
        if peer is not None:
            peer.attempt = None
        if attempt is not None and attempt is not link:
            self._forget(attempt)
        if rival is not None:
            self._forget(rival)
            self._replace(node, None)
            try:
                self._on_disconnected(node)
            except BaseException:
                self._forget(link)  # else it would live on, in nobody's table
                raise
            if link.state is State.CLOSED or node in self._established:
                return  # the callback saw to it
        self._complaints = {(who, what) for who, what in self._complaints if who not in (node, link.where)}
        self._replace(node, link)
        log.info("link established", node=node, where=link.where, dialed=link.dialed)
        self._on_connected(node)

    def spoke(self, link: Link, messages: list[Message]) -> None:
        assert link.peer is not None
        self._on_messages(link.peer, messages)

    def closed(self, link: Link, reason: str, *, suspect: bool) -> None:
        self._forget(link)
        node = link.peer
        if suspect:
            self._complain(node or link.where, reason, where=link.where)
        if node is None or self._established.get(node) is not link:
            return
        log.info("link lost", node=node, where=link.where, reason=reason)
        self._replace(node, None)
        peer = self._wanted.get(node)
        if peer is not None:
            now = self._clock()
            wait = 0.0 if self.me < node else LARGER_WAITS_S
            if now - link.established_at >= STEADY_S:
                peer.retry_s = FIRST_RETRY_S
            else:
                wait = max(wait, self._next_retry(peer))
            peer.due = now + wait
            self._sweep_due = now
        self._on_disconnected(node)

    # ── inside ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _outranks(self, link: Link, rival: Link, node: str) -> bool:
        """Whether the new `link` stays, and not the `rival` that is there: see above."""
        if link.dialed != rival.dialed:
            return link.dialed == (self.me < node)
        return self._serials[link] > self._serials[rival]

    def _note_address(self, node: str, address: str) -> None:
        self.addresses[node] = address
        if self._wants_everybody and node != self.me and node not in self._wanted:
            self._wanted[node] = self._new_peer(node)

    def _new_peer(self, node: str) -> _Peer:
        return _Peer(self._clock() + (0.0 if self.me < node else LARGER_WAITS_S))

    def _begin(self, where: str, *, node: str | None = None, stream: Stream | None = None) -> Link:
        handshake = Handshake(stream is None, self._secret, entropy=self._entropy)
        link = Link(self, self._hello, handshake, self._clock, where=where, peer=node, stream=stream)
        self._serial += 1
        self._serials[link] = self._serial
        return link

    def _dial(self, node: str, peer: _Peer) -> None:
        # Counted from its beginning: an attempt that took its time to fail is followed at once by the next.
        peer.due = self._clock() + self._next_retry(peer)
        peer.attempt = link = self._begin(self.addresses[node], node=node)
        self._wire.dial(link.where, link)

    def _next_retry(self, peer: _Peer) -> float:
        """Seconds; twice as many the next time. Three quarters to all of them, so that nodes do not keep step."""
        seconds, peer.retry_s = peer.retry_s, min(2 * peer.retry_s, LAST_RETRY_S)
        return seconds * (1 - int.from_bytes(self._entropy(2)) / 65536 / 4)

    def _replace(self, node: str, link: Link | None) -> None:
        if link is None:
            self._established.pop(node, None)
        else:
            self._established[node] = link
        self._connected = frozenset(self._established)

    def _forget(self, link: Link) -> None:
        """Close it, and have nothing to do with it any more; but for `_established`, which goes with the callbacks."""
        link.close()
        self._serials.pop(link, None)
        self._strangers.pop(link, None)
        peer = self._wanted.get(link.peer) if link.peer else None
        if peer is not None and peer.attempt is link:
            peer.attempt = None

    def _complain(self, who: str, what: str, **more: str) -> None:
        """Once of each, not once a try."""
        if (who, what) not in self._complaints:
            if len(self._complaints) >= MAX_COMPLAINTS:
                self._complaints.clear()
            self._complaints.add((who, what))
            log.warning("link refused", peer=who, reason=what, **more)
