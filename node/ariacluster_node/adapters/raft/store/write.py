"""One record of the log on its way to the disk, apart from the log that goes on meanwhile."""

import threading

from .disk import Data, Disk, File
from .segments import PARTIAL


class Write:
    """One record on its way to the disk, which may take seconds if that is busy. `run` may be called in any thread."""

    def __init__(self, disk: Disk, file: File | None, opening: tuple[str, bytes] | None, record: Data) -> None:
        """`opening`: name and first bytes of a segment that is begun, in place of `file`."""
        self.file = file
        self.is_done = False
        self.error: OSError | None = None
        self._disk = disk
        self._opening = opening
        self._record = record
        self._lock = threading.Lock()

    def run(self) -> None:
        """It is on disk when this returns, or there is an `error`. Done once, however often it is called."""
        with self._lock:
            if not self.is_done:
                try:
                    self._run()
                except OSError as error:
                    self.error = error
                self.is_done = True

    def _run(self) -> None:
        if self._opening is not None:
            self._open(*self._opening)
        assert self.file is not None
        if self._record:
            self.file.write(self._record)
            self.file.sync()

    def _open(self, name: str, first: bytes) -> None:
        """The segment has its name only once it is on disk as far as it goes.

        Killed before that, there may be any piece of it under the other name, which no start reads. Killed after it, and
        the folder not synced, a power cut may take the name back, or leave the other one: with and without this segment
        the log is the same, since all it holds stands in the segments before it, or was promised to nobody. Nothing of
        those is removed, and nothing more written here, before the folder is synced.
        """
        file = self._disk.create(name + PARTIAL)
        try:
            file.write(first)
            file.sync()
            self._disk.rename(name + PARTIAL, name)
            self._disk.sync_folder()
        except OSError:
            file.close()
            raise
        if self.file is not None:
            self.file.close()
        self.file = file
