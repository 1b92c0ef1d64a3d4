"""Runs tools side by side, reads their output as it comes, and leaves no process behind."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import TypeVar

from dither.arch.device import DeviceError

__all__ = ["Processes"]

_T = TypeVar("_T")
_KEPT_LINES = 200


class Processes:
    """The tools that run, side by side.

    Use it as a context manager: whatever still runs at its end, as after Ctrl-C, is killed.
    """

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[str]] = set()
        self._lock = threading.Lock()
        self._closed = False

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *error: object) -> None:
        self.kill()

    def run(
        self, name: str, command: Sequence[str], directory: Path, on_line: Callable[[str], None] = lambda line: None
    ) -> None:
        """Runs a command in a directory and waits for it.

        :param name: the tool's name in messages.
        :param on_line: called with each line of the command's output.
        :raises DeviceError: if the command fails, with the first error in its output, or else the
            last line.
        """
        with self._lock:
            if self._closed:
                raise DeviceError(f"{name} was not started: the build has ended")
            # A session of its own: Ctrl-C reaches this process alone, which then kills all of them.
            process = subprocess.Popen(
                command,
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                bufsize=1,
                start_new_session=True,
            )
            self._running.add(process)
        said: list[str] = []
        try:
            assert process.stdout is not None
            with process.stdout:
                for line in process.stdout:
                    said = [*said[1 - _KEPT_LINES :], line.rstrip()]
                    on_line(said[-1])
            code = process.wait()
        finally:
            _kill(process)
            with self._lock:
                self._running.discard(process)
        if code:
            raise DeviceError(f"{name} failed: {_complaint(said) or f'exit code {code}'}")

    def all(self, tasks: Sequence[Callable[[], _T]], jobs: int) -> list[_T]:
        """Returns the results of tasks, of which ``jobs`` run at a time; if one fails, all end."""
        with ThreadPoolExecutor(jobs) as pool:
            futures = [pool.submit(task) for task in tasks]
            try:
                # Waiting with a timeout lets Ctrl-C in.
                while wait(futures, timeout=0.2, return_when="FIRST_EXCEPTION").not_done:
                    if any(future.done() and future.exception() for future in futures):
                        break
                return [future.result() for future in futures if future.done()]
            finally:
                if any(not future.done() for future in futures):
                    for future in futures:
                        future.cancel()
                    self.kill()

    def kill(self) -> None:
        """Ends everything that runs; nothing can be started afterwards."""
        with self._lock:
            self._closed = True
            for process in self._running:
                _kill(process)


def _kill(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        process.wait()


def _complaint(said: list[str]) -> str:
    errors = [line for line in said if line.startswith("ERROR")]
    lines = errors[:1] or [line for line in said if line][-1:]
    return lines[0].removeprefix("ERROR: ").strip() if lines else ""
