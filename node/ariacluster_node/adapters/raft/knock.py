"""Is there a node of this cluster at an address? Asked before it is made a voter: a voter that is not there, or that has
another key, costs a small cluster its majority."""

import asyncio
import contextlib
import os
import struct
import zlib

from cryptography.fernet import Fernet, InvalidToken
from pysyncobj import pickle
from pysyncobj.monotonic import monotonic

from ariacluster.domain.errors import Unavailable

MAX_ANSWER_BYTES = 4096


async def knock(address: str, key: Fernet, *, deadline: float) -> None:
    """Say the library's hello and see that the answer is encrypted with `key`; it is not unpickled.

    `deadline` is in the loop's time. Raises `Unavailable`.
    """
    host, _, port = address.rpartition(":")
    try:
        async with asyncio.timeout_at(deadline):
            reader, writer = await asyncio.open_connection(host, int(port))
            try:
                hello = key.encrypt_at_time(zlib.compress(pickle.dumps(os.urandom(32))), int(monotonic()))
                writer.write(struct.pack("i", len(hello)) + hello)
                (size,) = struct.unpack("i", await reader.readexactly(4))
                if not 0 < size <= MAX_ANSWER_BYTES:
                    raise InvalidToken
                key.decrypt(await reader.readexactly(size))
            finally:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
    except (EOFError, InvalidToken) as error:
        raise Unavailable(
            f"What answers at {address} does not have this cluster's key; it was not taken in."
        ) from error
    except (OSError, TimeoutError) as error:
        raise Unavailable(f"Nothing answers at {address}; it was not taken in.") from error
