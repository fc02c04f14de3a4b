"""Documents that were uploaded, each in a file that is called by what is in it (SHA-256).

What is there is whole: it is written aside, brought to the disk and only then given its name, and looked at again when it is
read.
"""

import asyncio
import hashlib
import os
import re
from pathlib import Path

import structlog

from ariacluster.domain.errors import InvalidInput, Unavailable

from .durable import write_durably

log = structlog.get_logger()

_DIGEST = re.compile("[0-9a-f]{64}")

_PRIVATE_FILE, _PRIVATE_FOLDER = 0o600, 0o700


class DocumentFolder:
    """Fills `DocumentStore`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def put(self, digest: str, data: bytes) -> None:
        """See the port."""
        await asyncio.to_thread(self._put, digest, data)

    async def get(self, digest: str) -> bytes | None:
        """See the port."""
        return await asyncio.to_thread(self._get, digest)

    async def known(self) -> set[str]:
        """See the port."""
        return await asyncio.to_thread(self._known)

    async def remove(self, digest: str) -> None:
        """See the port."""
        await asyncio.to_thread(self._path(digest).unlink, True)

    def _put(self, digest: str, data: bytes) -> None:
        path = self._path(digest)
        if hashlib.sha256(data).hexdigest() != digest:
            raise InvalidInput("This document is not what it is called.")
        try:
            self._folder.mkdir(mode=_PRIVATE_FOLDER, parents=True, exist_ok=True)
            if not path.is_file():
                write_durably(path, data, mode=_PRIVATE_FILE)
        except OSError as error:
            raise Unavailable(f"The document cannot be kept in {self._folder}: {error.strerror or error}.") from None

    def _get(self, digest: str) -> bytes | None:
        path = self._path(digest)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Unavailable(f"The document {path} cannot be read: {error.strerror or error}.") from None
        if hashlib.sha256(data).hexdigest() == digest:
            return data
        log.warning("a document is damaged, and is fetched anew", file=str(path))
        path.unlink(missing_ok=True)
        return None

    def _known(self) -> set[str]:
        try:
            return {name for name in os.listdir(self._folder) if _DIGEST.fullmatch(name)}
        except FileNotFoundError:
            return set()
        except OSError as error:
            raise Unavailable(f"The folder {self._folder} cannot be read: {error.strerror or error}.") from None

    def _path(self, digest: str) -> Path:
        if not _DIGEST.fullmatch(digest):
            raise InvalidInput("A document is called by the 64 hex digits of its SHA-256.")
        return self._folder / digest
