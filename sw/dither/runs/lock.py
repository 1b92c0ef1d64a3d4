"""Who may write a run folder: one process at a time."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from ..tools.forms import misfit

__all__ = ["LOCK", "FolderLock"]

LOCK = "lock"
"""File, in a run folder, that is locked."""
_HOLDER = {"process": int, "host": str, "since": str}


class FolderLock:
    """The lock of one folder, for one user of it.

    It is advisory: it binds programs that ask for it. The system releases it when the process ends,
    however it ends. While somebody writes, the lock's file says who.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / LOCK
        self._held: weakref.finalize[[int], FolderLock] | None = None

    def take(self) -> bool:
        """Takes the lock for writing, if it is not held here already, until :meth:`release`.

        :returns: whether it could be had.
        :raises OSError: if the folder cannot be written.
        """
        if self._held is not None:
            return True
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        if not _locked(descriptor, fcntl.LOCK_EX):
            return False
        now = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")
        holder = {"process": os.getpid(), "host": socket.gethostname(), "since": now}
        os.ftruncate(descriptor, 0)
        os.write(descriptor, json.dumps(holder).encode())
        self._held = weakref.finalize(self, _release, descriptor)
        return True

    def release(self) -> None:
        """Gives the lock back, if it is held here."""
        if self._held is not None:
            self._held()
            self._held = None

    @contextmanager
    def shared(self) -> Iterator[bool]:
        """Takes the lock for reading: others may read meanwhile, nobody may write.

        Yields whether it could be had. Where the lock's file is missing or cannot be opened, there
        is nothing to wait for.
        """
        try:
            descriptor = None if self._held else os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            descriptor = None
        if descriptor is None:
            yield True
            return
        if not _locked(descriptor, fcntl.LOCK_SH):
            yield False
            return
        try:
            yield True
        finally:
            os.close(descriptor)

    @property
    def busy(self) -> bool:
        """Whether somebody may write the folder now.

        Who asks is in nobody's way: the lock is tried only where its file names a holder, who then
        has it or was killed.
        """
        try:
            named = self._held is not None or self.path.stat().st_size > 0
        except OSError:
            return False
        if not named:
            return False
        with self.shared() as quiet:
            return self._held is not None or not quiet

    @property
    def holder(self) -> str:
        """Who writes the folder, for people."""
        try:
            content = json.loads(self.path.read_text("utf-8"))
        except (OSError, ValueError, RecursionError):
            content = None
        if misfit(content, _HOLDER):
            return "another process uses it"
        return f"process {content['process']} on {content['host']} has been writing it since {content['since']}"


def _locked(descriptor: int, kind: int) -> bool:
    """Whether the lock could be had at once; the file is closed if not."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BaseException as error:
        os.close(descriptor)
        if isinstance(error, BlockingIOError):
            return False
        raise
    return True


def _release(descriptor: int) -> None:
    os.ftruncate(descriptor, 0)
    os.close(descriptor)
