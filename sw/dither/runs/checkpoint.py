"""Checkpoints: files that hold a run's whole state, written atomically and checked when read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..tools.archives import read_archive
from ..tools.files import AnyPath, write_atomically
from ..tools.forms import COUNT, misfit

__all__ = ["Checkpoint", "CheckpointError"]

_META = "meta"
_DIGEST = "digest"
_REMEDY = "delete it to resume from the checkpoint before"


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
        try:
            arrays = read_archive(path)
            raw = arrays.pop(_META).tobytes()
            recorded = arrays.pop(_DIGEST).tobytes()
            arrays = {name.removeprefix("array."): values for name, values in arrays.items()}
            meta = json.loads(raw)
        except FileNotFoundError:
            raise CheckpointError(f"there is no checkpoint {path}") from None
        except (ValueError, KeyError, RecursionError):
            raise CheckpointError(f"{path} is truncated or not a dither checkpoint; {_REMEDY}") from None
        if recorded != _content(raw, arrays):
            raise CheckpointError(f"{path} is damaged: its content does not match its digest; {_REMEDY}")
        if trouble := misfit(meta, {"identity": str, "step": COUNT}):
            raise CheckpointError(f"{path} is not a dither checkpoint: {trouble}; {_REMEDY}")
        if meta["identity"] != identity:
            raise CheckpointError(f"{path} belongs to another run (its configuration differs); {_REMEDY}")
        step = meta.pop("step")
        return cls(meta.pop("identity"), step, arrays, meta)

    def require(self, trouble: str | None) -> None:
        """Complains of this checkpoint, if it was written whole but says something impossible.

        :param trouble: what is wrong with it, in a few words; None if nothing is.
        :raises CheckpointError: unless nothing is.
        """
        if trouble is not None:
            raise CheckpointError(f"the checkpoint of step {self.step} cannot be used: {trouble}; {_REMEDY}")


def _content(meta: bytes, arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Returns the SHA-256 of the meta data and of name, type, shape and bytes of every array."""
    digest = hashlib.sha256(meta)
    for name, values in sorted(arrays.items()):
        digest.update(f"{name} {values.dtype.str} {values.shape}".encode())
        digest.update(np.ascontiguousarray(values).tobytes())
    return digest.digest()
