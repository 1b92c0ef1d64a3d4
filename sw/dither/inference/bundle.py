"""Bundles: a trained network's forward program and parameters for one engine, in one file.

A bundle needs neither the run that it comes from nor the samples that it was trained with. The file
is an archive of NumPy (``NAME.bundle``, read like any other archive from a stranger): the program's
words, tables, constants, master parameters, and a description as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arch.config import EngineConfig
from ..arch.fixedpoint import FixedPoint
from ..compiler import Inference
from ..data import AS_THEY_ARE, Scaling
from ..tools.archives import read_archive
from ..tools.files import AnyPath, write_atomically
from ..tools.forms import COUNT, POSITIVE, misfit

__all__ = ["Bundle", "BundleError"]

FORMAT = 1
"""Version of the file's layout."""
_ARRAYS = {"program": "<u4", "tables": "<i8", "constants": "<i8", "masters": "<i4"}
_META = "bundle"
_FORM = {
    "format": range(FORMAT, FORMAT + 1),
    "title": str,
    "engine": {str: int},
    "entries": {"setup": COUNT, "load": COUNT, "evaluate": COUNT},
    "inputs": POSITIVE,
    "outputs": POSITIVE,
    "source": {"width": int, "frac": int},
    "target": {"width": int, "frac": int},
    "scaling": {"centre": [float], "reach": [float]},
    "classes": (None, [(str, float)]),
}


class BundleError(ValueError):
    """A bundle cannot be used; the message is one line and says what to do."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """A trained network for one engine, and what its inputs and outputs mean."""

    inference: Inference
    """Program, parameters and number formats."""
    title: str
    """Title of the network's task, one line for people."""
    scaling: Scaling = AS_THEY_ARE
    """How inputs as they are become those of the network."""
    classes: tuple[Any, ...] | None = None
    """Label of each class, one an output; None if outputs are values."""

    def save(self, path: AnyPath) -> None:
        """Writes the bundle to a file.

        :raises OSError: if it cannot be written.
        """
        held = self.inference
        meta = {
            "format": FORMAT,
            "title": self.title,
            "engine": held.engine.to_dict(),
            "entries": dict(held.entries),
            "inputs": held.inputs,
            "outputs": held.outputs,
            "source": {"width": held.source.width, "frac": held.source.frac},
            "target": {"width": held.target.width, "frac": held.target.frac},
            "scaling": self.scaling.to_dict(),
            "classes": None if self.classes is None else list(self.classes),
        }
        arrays: dict[str, Any] = {name: np.array(getattr(held, name), kind) for name, kind in _ARRAYS.items()}
        arrays[_META] = np.frombuffer(json.dumps(meta).encode(), np.uint8)
        write_atomically(path, lambda file: np.savez(file, **arrays))

    @classmethod
    def load(cls, path: AnyPath) -> Bundle:
        """Reads a bundle from a file that :meth:`save` wrote.

        :raises BundleError: if the file is missing or holds no usable bundle.
        """
        try:
            arrays = read_archive(path)
            meta = json.loads(arrays[_META].tobytes())
            if trouble := misfit(meta, _FORM):
                raise ValueError(trouble)
            return cls._of(meta, {name: arrays[name] for name in _ARRAYS})
        except FileNotFoundError:
            raise BundleError(f"there is no bundle {path}; dither export RUN {path} writes one") from None
        except (KeyError, TypeError, RecursionError, OverflowError) as error:
            raise BundleError(f"{path} holds no usable bundle: {error!r}; export it again") from None
        except ValueError as error:
            raise BundleError(f"{path} holds no usable bundle: {error}; export it again") from None

    @classmethod
    def _of(cls, meta: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Bundle:
        engine = EngineConfig.from_dict(meta["engine"])
        shapes = {"program": (-1,), "tables": (-1, 2), "constants": (-1,), "masters": (-1, engine.rows)}
        for name, kind in _ARRAYS.items():
            values, shape = arrays[name], shapes[name]
            good = values.dtype == np.dtype(kind) and values.ndim == len(shape) and values.shape[1:] == shape[1:]
            if not good:
                raise ValueError(f"{name} has the type {values.dtype} and the shape {values.shape}")
        classes = None if meta["classes"] is None else tuple(meta["classes"])
        if classes is not None and len(classes) != meta["outputs"]:
            raise ValueError(f"it has {len(classes)} classes and {meta['outputs']} outputs")
        scaling = Scaling.from_dict(meta["scaling"])
        if len(scaling.centre) not in (1, meta["inputs"]):
            raise ValueError(f"it has {meta['inputs']} inputs, but a scaling for {len(scaling.centre)}")
        held = Inference(
            engine=engine,
            program=tuple(arrays["program"].tolist()),
            entries=meta["entries"],
            inputs=meta["inputs"],
            outputs=meta["outputs"],
            source=FixedPoint(**meta["source"]),
            target=FixedPoint(**meta["target"]),
            tables=arrays["tables"].astype(np.int64),
            constants=arrays["constants"].astype(np.int64),
            masters=arrays["masters"].astype(np.int64),
        )
        return cls(held, meta["title"], scaling, classes)
