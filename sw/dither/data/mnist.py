"""MNIST: 28 x 28 pixels of handwritten digits.

Source: Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, Proc. IEEE 86 (1998).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..tools.files import AnyPath
from .files import DataError, RemoteFile, data_folder, read_file
from .idx import read_idx

__all__ = ["FILES", "MIRRORS", "Images", "load_mnist"]

MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist",
    "https://storage.googleapis.com/cvdf-datasets/mnist",
)
"""URLs of folders that hold MNIST's files, tried one after the other."""
FILES: Mapping[str, RemoteFile] = {
    "train images": RemoteFile(
        "train-images-idx3-ubyte", "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"
    ),
    "train labels": RemoteFile(
        "train-labels-idx1-ubyte", "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"
    ),
    "test images": RemoteFile(
        "t10k-images-idx3-ubyte", "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"
    ),
    "test labels": RemoteFile(
        "t10k-labels-idx1-ubyte", "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"
    ),
}
"""Files of MNIST by their content."""


@dataclass(frozen=True, slots=True)
class Images:
    """Grey images and their labels."""

    pixels: NDArray[np.uint8]
    """Brightness from 0 to 255, shape (samples, rows, columns)."""
    labels: NDArray[np.int64]
    """Class of each image, shape (samples,)."""

    def scaled(self) -> NDArray[np.float32]:
        """Returns pixels from -1 to 1, row after row, shape (samples, rows * columns)."""
        shades = (np.arange(256) / 127.5 - 1).astype(np.float32)
        return shades[self.pixels.reshape(len(self.pixels), -1)]


def load_mnist(
    folder: AnyPath | None = None, files: Mapping[str, RemoteFile] = FILES, mirrors: Sequence[str] = MIRRORS
) -> tuple[Images, Images]:
    """Returns MNIST's 60,000 training images and 10,000 test images.

    :param folder: where the four files are, packed or not; if None, the folder in ``DITHER_DATA``,
        or else one in the user's cache, which missing files are downloaded into.
    :raises DataError: if a file is missing, cannot be downloaded, or is damaged.
    """
    where, chosen = data_folder("mnist", folder)

    def array(kind: str, axes: int) -> NDArray[np.uint8]:
        content = read_file(files[kind], where, mirrors, download=not chosen)
        return read_idx(content, axes, str(where / files[kind].name))

    def part(name: str) -> Images:
        pixels, labels = array(f"{name} images", 3), array(f"{name} labels", 1)
        if len(pixels) != len(labels):
            raise DataError(f"{where} holds {len(pixels)} {name} images, but {len(labels)} labels")
        return Images(pixels, labels.astype(np.int64))

    return part("train"), part("test")
