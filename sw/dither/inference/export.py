"""A trained network in the formats of others: by the suffix of the file that it goes to."""

from __future__ import annotations

from pathlib import Path

from ..nn.network import Network
from ..pytorch import require_torch, to_torch
from ..tools.files import AnyPath, write_atomically
from .bundle import Bundle, BundleError
from .onnx import to_onnx

__all__ = ["BUNDLE", "SUFFIXES", "write_network"]

BUNDLE = ".bundle"
"""Suffix of files of bundles."""
SUFFIXES = {
    ".npz": "an archive of NumPy with model and parameters, for dither.Network.load and --model",
    ".pt": "the state of the module that dither.to_torch makes, for torch.load",
    ".onnx": "a graph with scaling and labels, for ONNX runtimes",
    BUNDLE: "a program with parameters for one engine, for dither predict",
}
"""What a network can become, by the suffix of the file."""


def write_network(path: AnyPath, network: Network, bundle: Bundle) -> Path:
    """Writes a network to a file, whose suffix decides what it becomes, and returns its path.

    :param path: file with a suffix of :data:`SUFFIXES`.
    :param network: the network in floating point.
    :param bundle: the same as a program; of other files, what its inputs and outputs mean.
    :raises BundleError: if the suffix is none of these, or the file cannot be written.
    :raises ImportError: if the package that the format needs is not installed.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise BundleError(f"cannot write {path}: its name must end in one of {', '.join(SUFFIXES)}")
    try:
        if path.suffix == BUNDLE:
            bundle.save(path)
        elif path.suffix == ".npz":
            network.save(path)
        elif path.suffix == ".pt":
            state = to_torch(network).state_dict()
            write_atomically(path, lambda file: require_torch().save(state, file))
        else:
            content = to_onnx(network, bundle.scaling, bundle.classes, bundle.title).SerializeToString()
            write_atomically(path, content)
    except OSError as error:
        raise BundleError(f"cannot write {path}: {error.strerror or error}; choose another file") from None
    return path
