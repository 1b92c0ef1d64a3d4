"""A disk whose power may fail: records what a program does to files, and replays what could be left
of it after a failure at any moment.

The model is as unkind as POSIX allows. What was written to a file since it was last synced may be
there, in part, as zeros, or not at all. Names that were made, moved or removed in a folder since
the folder was last synced may be as before or as after, each independently of the others.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class File:
    """One file: its content that is safe, and writes since, as (position, bytes); None cuts off."""

    safe: bytearray = field(default_factory=bytearray)
    since: list[tuple[int, bytes | None]] = field(default_factory=list)

    def apply(self, content: bytearray, write: tuple[int, bytes | None]) -> None:
        position, data = write
        if data is None:
            del content[position:]
            content.extend(bytes(position - len(content)))
            return
        content.extend(bytes(max(0, position - len(content))))
        content[position : position + len(data)] = data

    def whole(self) -> bytearray:
        """As running programs see it."""
        content = bytearray(self.safe)
        for write in self.since:
            self.apply(content, write)
        return content


Names = dict[str, "File | None"]
"""What a change in a folder does: names that then stand for a file, or for nothing; folders are
files without content."""


@dataclass
class Folder:
    """One folder: its names that are safe, and changes since."""

    safe: dict[str, File] = field(default_factory=dict)
    since: list[Names] = field(default_factory=list)

    @staticmethod
    def apply(names: dict[str, File], change: Names) -> None:
        for name, file in change.items():
            if file is None:
                names.pop(name, None)
            else:
                names[name] = file

    def whole(self) -> dict[str, File]:
        """As running programs see it."""
        names = dict(self.safe)
        for change in self.since:
            self.apply(names, change)
        return names


@dataclass(frozen=True)
class Operation:
    """One call: what it is, on which path, and what else belongs to it."""

    kind: str
    path: Path
    detail: Any = None


class Recorder:
    """Stands for the module ``os``: does what it is told, and keeps all that changes files below a
    folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.operations: list[Operation] = []
        self._open: dict[int, Path] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def _note(self, kind: str, path: Any, detail: Any = None) -> None:
        if Path(path).is_relative_to(self.root):
            self.operations.append(Operation(kind, Path(path).relative_to(self.root), detail))

    def open(self, path: Any, flags: int, mode: int = 0o777) -> int:
        descriptor = os.open(path, flags, mode)
        self._open[descriptor] = Path(path)
        if flags & os.O_CREAT:
            self._note("create", path)
        return descriptor

    def close(self, descriptor: int) -> None:
        del self._open[descriptor]
        os.close(descriptor)

    def write(self, descriptor: int, content: Any) -> int:
        path = self._open[descriptor]
        position = os.fstat(descriptor).st_size
        count = os.write(descriptor, content)
        self._note("write", path, (position, bytes(content[:count])))
        return count

    def fsync(self, descriptor: int) -> None:
        os.fsync(descriptor)
        self._note("sync", self._open[descriptor])

    def truncate(self, path: Any, size: int) -> None:
        os.truncate(path, size)
        self._note("write", path, (size, None))

    def replace(self, source: Any, target: Any) -> None:
        os.replace(source, target)
        self._note("move", source, Path(target).relative_to(self.root))

    def unlink(self, path: Any) -> None:
        os.unlink(path)
        self._note("remove", path)

    def mkdir(self, path: Any) -> None:
        os.mkdir(path)
        self._note("folder", path)


class Disk:
    """A disk that takes recorded operations, one after the other."""

    def __init__(self) -> None:
        self.folders: dict[Path, Folder] = {Path(): Folder()}

    def take(self, operation: Operation) -> None:
        """Does one operation."""
        kind, path, detail = operation.kind, operation.path, operation.detail
        if kind == "sync" and path in self.folders:
            folder = self.folders[path]
            folder.safe, folder.since = folder.whole(), []
            return
        folder = self.folders[path.parent]
        if kind in ("create", "folder"):
            folder.since.append({path.name: File()})
            if kind == "folder":
                self.folders[path] = Folder()
        elif kind == "remove":
            folder.since.append({path.name: None})
        elif kind == "move":
            assert detail.parent == path.parent, "a file moves within its folder"
            folder.since.append({path.name: None, detail.name: folder.whole()[path.name]})
        else:
            file = folder.whole()[path.name]
            if kind == "sync":
                file.safe, file.since = file.whole(), []
            else:
                assert kind == "write"
                file.since.append(detail)

    def whole(self) -> dict[Path, bytes]:
        """All files, as running programs see them."""
        return {
            path / name: bytes(file.whole())
            for path, folder in self.folders.items()
            for name, file in folder.whole().items()
            if path / name not in self.folders
        }

    def after_failure(self, chance: random.Random, keep: float) -> Iterator[tuple[Path, bytes | None]]:
        """Files, and folders (None), that the power's failure leaves; a folder comes before what is
        in it.

        :param keep: how likely each unsynced change is to survive; 0 and 1 for the extremes.
        """
        left = {Path()}
        for path in sorted(self.folders):
            if path not in left:
                continue
            folder = self.folders[path]
            names = dict(folder.safe)
            for change in folder.since:
                if chance.random() < keep:
                    folder.apply(names, change)
            for name, file in names.items():
                if path / name in self.folders:
                    left.add(path / name)
                    yield path / name, None
                else:
                    yield path / name, self._content(file, chance, keep)

    @staticmethod
    def _content(file: File, chance: random.Random, keep: float) -> bytes:
        content = bytearray(file.safe)
        for position, data in file.since:
            if chance.random() >= keep:
                continue
            damage = chance.randrange(4) if 0 < keep < 1 and data else 0
            if damage == 1 and data:  # Only its beginning.
                data = data[: chance.randrange(len(data))]
            elif damage == 2 and data:  # Its length, but not yet its bytes.
                data = bytes(len(data))
            elif damage == 3 and data:  # Whatever was on the disk before.
                data = chance.randbytes(len(data))
            file.apply(content, (position, data))
        return bytes(content)
