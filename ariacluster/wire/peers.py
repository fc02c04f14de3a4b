"""What nodes say to each other over the API, beside the log: reports to the leader, the overview from it."""

import hashlib
import hmac
from typing import TypeVar

import msgspec

from ariacluster.domain.errors import InvalidInput

from .deltas import Heard, News

Frame = TypeVar("Frame", bound=msgspec.Struct)

MAX_REPORT = 4 * 1024 * 1024
"""Bytes of a frame to the leader: a whole report with 30,000 downloads."""

MAX_OVERVIEW = 16 * 1024 * 1024
"""Bytes of a frame from the leader: a whole overview of 64 busy nodes is far below."""


STREAM_REFUSED = 4000
"""The close code (RFC 6455, section 7.4.2) of a stream that the leader ends; the reason is the code of one of our errors."""


class Overview(msgspec.Struct, frozen=True):
    """Reports as the leader that led in `term` has them: everybody's, or those that are new since it was asked last."""

    term: int
    nodes: tuple[Heard, ...]


class ReportFrame(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Node to leader, once a second: its own report. `watching`: answer with the overview. `got`: the last frame that came from
    the leader in this stream; it sends the next one only then. `again`: that one did not follow, send a whole one."""

    news: News
    watching: bool = False
    got: int = 0
    again: bool = False


class OverviewFrame(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Leader to node, when asked. `heard`: the node's last frame that was taken when this was made. `again`: a frame of the
    node did not follow, send a whole one."""

    term: int
    news: News
    heard: int = 0
    again: bool = False


_encoder = msgspec.msgpack.Encoder()
_reports = msgspec.msgpack.Decoder(ReportFrame)
_overviews = msgspec.msgpack.Decoder(OverviewFrame)


def encode(frame: ReportFrame | OverviewFrame) -> bytes:
    return _encoder.encode(frame)


def decode_report(data: bytes) -> ReportFrame:
    """`InvalidInput` on bytes that are none."""
    return _decode(_reports, data)


def decode_overview(data: bytes) -> OverviewFrame:
    """`InvalidInput` on bytes that are none."""
    return _decode(_overviews, data)


def _decode(decoder: "msgspec.msgpack.Decoder[Frame]", data: bytes) -> Frame:
    try:
        return decoder.decode(data)
    except (msgspec.MsgspecError, ValueError) as error:
        raise InvalidInput(f"This frame cannot be read: {error}.") from None


def peer_token(key: bytes) -> str:
    """Proves knowledge of the cluster key without being it."""
    return hmac.new(key, b"ariacluster peer 1", hashlib.sha256).hexdigest()
