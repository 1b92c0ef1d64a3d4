"""Checkpoints: files that hold a run's whole state, written atomically and checked when read."""

from __future__ import annotations

import hashlib
import json
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..tools.files import AnyPath, write_atomically

__all__ = ["Checkpoint", "CheckpointError"]

_META = "meta"
_DIGEST = "digest"


class CheckpointError(RuntimeError):
    """A checkpoint cannot be used; the message is one line and says what to do."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A run's state after some optimiser steps."""

    identity: str
    """Digest of the run's configuration.

    A checkpoint of another configuration is refused rather than misread.
    """
    step: int
    """Number of optimiser steps done."""
    arrays: Mapping[str, NDArray[Any]]
    """Integer arrays by name: masters and moments."""
    meta: Mapping[str, Any]
    """Further data, whatever JSON can hold."""

    def save(self, path: AnyPath) -> None:
        """Writes the checkpoint to a file, atomically.

        :raises OSError: if the file cannot be written.
        """
        meta = json.dumps({"identity": self.identity, "step": self.step, **self.meta}, sort_keys=True).encode()
        arrays = dict(sorted(self.arrays.items()))
        digest = np.frombuffer(_content(meta, arrays), np.uint8)
        packed: dict[str, Any] = {f"array.{name}": values for name, values in arrays.items()}
        packed |= {_META: np.frombuffer(meta, np.uint8), _DIGEST: digest}
        write_atomically(path, lambda file: np.savez(file, **packed))

    @classmethod
    def load(cls, path: AnyPath, identity: str) -> Checkpoint:
        """Reads a checkpoint back and checks every byte of it.

        :param identity: digest of the configuration that it must belong to.
        :raises CheckpointError: if it is missing, truncated, damaged, or of another configuration
            or program.
        """
        remedy = "delete it to resume from the checkpoint before"
        try:
            with np.load(path, allow_pickle=False) as file:
                content = {name: file[name] for name in file.files}
            raw = content.pop(_META).tobytes()
            recorded = content.pop(_DIGEST).tobytes()
            arrays = {name.removeprefix("array."): values for name, values in content.items()}
            meta = json.loads(raw)
        except FileNotFoundError:
            raise CheckpointError(f"there is no checkpoint {path}") from None
        except (OSError, ValueError, KeyError, EOFError, AttributeError, zipfile.BadZipFile, zlib.error):
            raise CheckpointError(f"{path} is truncated or not a dither checkpoint; {remedy}") from None
        if recorded != _content(raw, arrays):
            raise CheckpointError(f"{path} is damaged: its content does not match its digest; {remedy}")
        if meta["identity"] != identity:
            raise CheckpointError(f"{path} belongs to another run (its configuration differs); {remedy}")
        step = meta.pop("step")
        return cls(meta.pop("identity"), step, arrays, meta)


def _content(meta: bytes, arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Returns the SHA-256 of the meta data and of name, type, shape and bytes of every array."""
    digest = hashlib.sha256(meta)
    for name, values in sorted(arrays.items()):
        digest.update(f"{name} {values.dtype.str} {values.shape}".encode())
        digest.update(np.ascontiguousarray(values).tobytes())
    return digest.digest()
