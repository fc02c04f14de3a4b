"""The replicated log, by PySyncObj: the only folder that knows it."""

import _socket
import socket

import pysyncobj.win_inet_pton  # noqa: F401

# The library puts its stand-ins for old Windows into the `socket` module, on every system; they work on none but that.
socket.inet_pton, socket.inet_ntop = _socket.inet_pton, _socket.inet_ntop

from .consensus import PySyncObjConsensus  # noqa: E402

__all__ = ["PySyncObjConsensus"]
