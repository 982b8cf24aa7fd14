"""The part of a file that has arrived, beside the place where the whole one will be."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_SUFFIX = ".part"
_POLL_S = 0.1  # how often a process looks whether another has finished the file
_NO_LOCKS = (errno.EBADF, errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


class Part:
    """The first bytes of a file, which a later download continues."""

    def __init__(self, path: Path, handle: int) -> None:
        self.path = path
        self._handle = handle
        self._modified = os.fstat(handle).st_mtime
        self.size = os.fstat(handle).st_size
        self.inherited = self.size > 0  # some bytes are of an earlier call

    @property
    def modified_s(self) -> float:
        """When the server's file was last modified; 0: that is not known.

        The part carries it as its own time, also for a later call, so that bytes of two versions of
        a file are not mixed. Should the process be killed in between, the time is another, the
        server sends the file from its beginning, and nothing is mixed.
        """
        return self._modified if self.size else 0.0

    def restart(self) -> None:
        """Begin again with no bytes."""
        os.ftruncate(self._handle, 0)
        self.size, self.inherited = 0, False

    def append(self, data: bytes, modified_s: float) -> None:
        left = memoryview(data)
        while left:  # a nearly full disk takes a part of it, and then raises
            written = os.write(self._handle, left)
            left = left[written:]
            self.size += written
        self._modified = modified_s
        os.utime(self._handle, (modified_s, modified_s))

    def digest(self, algorithm: str) -> str:
        """Return the hash of the bytes in hexadecimal digits; `sha256`, for example."""
        found = hashlib.new(algorithm)
        with self.path.open("rb") as file:
            while block := file.read(2**20):
                found.update(block)
        return found.hexdigest()

    def becomes(self, target: Path) -> None:
        """Give the whole file its name."""
        os.fsync(self._handle)  # a name must not outlive a power cut that its bytes do not
        os.utime(self._handle)
        self.path.replace(target)


@contextmanager
def locked_part(target: Path, waiting: Callable[[int], None]) -> Iterator[Part | None]:
    """Yield the part of a file, locked; None if another process has finished the file meanwhile.

    A part without a byte is removed in the end. Where a file system has no locks, the part is this
    process's own and never outlives the context.

    Args:
        target: the whole file; its folder exists.
        waiting: called with the part's size now and then while another process is fetching.
    """
    path = target.with_name(target.name + _SUFFIX)
    handle, locked = _lock(path, target, waiting)
    if not locked:
        path = target.with_name(f"{target.name}.{os.getpid()}{_SUFFIX}")
        handle = _open(path)
    try:
        if target.is_file():
            yield None
        else:
            yield Part(path, handle)
    finally:
        # While it is locked, the name is this part's: others wait for it.
        if not locked or os.fstat(handle).st_size == 0:
            with suppress(FileNotFoundError):  # it is the whole file now
                path.unlink()
        os.close(handle)


def _lock(path: Path, target: Path, waiting: Callable[[int], None]) -> tuple[int, bool]:
    """Return the open part and whether it is locked; if it cannot be, it is closed."""
    while True:
        handle = _open(path)
        try:
            while not _try_lock(handle):
                waiting(os.fstat(handle).st_size)
                time.sleep(_POLL_S)
            # The one that was waited for has given the file its name, or removed it.
            with suppress(FileNotFoundError):
                if target.is_file() or os.path.samestat(path.stat(), os.fstat(handle)):
                    return handle, True
        except BaseException as error:
            no_locks = isinstance(error, OSError) and error.errno in _NO_LOCKS
            if no_locks and os.fstat(handle).st_size == 0:
                path.unlink(missing_ok=True)
            os.close(handle)
            if no_locks:
                return -1, False
            raise
        os.close(handle)


def _try_lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
