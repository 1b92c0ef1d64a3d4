"""Sets of grey images, 28 × 28 pixels, in four files of IDX format: MNIST, and others of its form.

Sources: MNIST, handwritten digits: Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, Proc. IEEE 86
(1998). Fashion-MNIST, pieces of clothing, MIT licence: H. Xiao, K. Rasul, R. Vollgraf, arXiv
1708.07747.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..tools.files import AnyPath
from .files import DataError, RemoteFile, data_folder, read_file
from .idx import read_idx

__all__ = ["IMAGE_SETS", "ImageSet", "Images"]


@dataclass(frozen=True, slots=True)
class Images:
    """Grey images and their labels."""

    pixels: NDArray[np.uint8] | NDArray[np.float32]
    """Brightness from 0 to 255, shape (samples, rows, columns)."""
    labels: NDArray[np.int64]
    """Class of each image, shape (samples,)."""

    def averaged(self, size: int) -> Images:
        """Returns square images of so many rows and columns, by averaging over areas."""
        samples, rows, columns = self.pixels.shape
        # Each pixel is repeated until the new ones are whole blocks.
        fine = [math.lcm(count, size) // count for count in (rows, columns)]
        wide = self.pixels.astype(np.float32).repeat(fine[0], axis=1).repeat(fine[1], axis=2)
        blocks = wide.reshape(samples, size, rows * fine[0] // size, size, columns * fine[1] // size)
        return Images(blocks.mean(axis=(2, 4)), self.labels)

    def scaled(self) -> NDArray[np.float32]:
        """Returns pixels from -1 to 1, row after row, shape (samples, rows * columns)."""
        flat = self.pixels.reshape(len(self.pixels), -1)
        if flat.dtype != np.uint8:
            return flat.astype(np.float32) / 127.5 - 1
        return (np.arange(256) / 127.5 - 1).astype(np.float32)[flat]


@dataclass(frozen=True, slots=True)
class ImageSet:
    """A data set of grey images, for training and for tests: what its files are, and where."""

    name: str
    """Name of the data set, and of its folder."""
    files: Mapping[str, RemoteFile]
    """The four files: ``train images``, ``train labels``, ``test images``, ``test labels``."""
    mirrors: tuple[str, ...]
    """URLs of folders that hold the files, tried one after the other."""

    @classmethod
    def of(cls, name: str, digests: tuple[str, str, str, str], *mirrors: str) -> ImageSet:
        """Returns the set whose files have MNIST's names.

        :param digests: SHA-256 of the unpacked files: training images, their labels, test images,
            their labels.
        """
        files = {
            f"{part} {kind}": RemoteFile(f"{prefix}-{kind}-idx{axes}-ubyte", digest)
            for (part, prefix, kind, axes), digest in zip(_PARTS, digests, strict=True)
        }
        return cls(name, files, mirrors)

    def load(self, folder: AnyPath | None = None) -> tuple[Images, Images]:
        """Returns the images for training and those for tests.

        :param folder: where the four files are, packed or not; :func:`dither.data.data_folder`
            finds it if None, and missing files are downloaded into the user's cache.
        :raises DataError: if a file is missing, cannot be downloaded, or is damaged.
        """
        where, chosen = data_folder(self.name, folder)

        def array(kind: str, axes: int) -> NDArray[np.uint8]:
            content = read_file(self.files[kind], where, self.mirrors, download=not chosen)
            return read_idx(content, axes, str(where / self.files[kind].name))

        def part(name: str) -> Images:
            pixels, labels = array(f"{name} images", 3), array(f"{name} labels", 1)
            if len(pixels) != len(labels):
                raise DataError(f"{where} holds {len(pixels)} {name} images, but {len(labels)} labels")
            return Images(pixels, labels.astype(np.int64))

        return part("train"), part("test")


_PARTS = (
    ("train", "train", "images", 3),
    ("train", "train", "labels", 1),
    ("test", "t10k", "images", 3),
    ("test", "t10k", "labels", 1),
)

IMAGE_SETS = {
    "mnist": ImageSet.of(
        "mnist",
        (
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
        "https://ossci-datasets.s3.amazonaws.com/mnist",
        "https://storage.googleapis.com/cvdf-datasets/mnist",
    ),
    "fashion-mnist": ImageSet.of(
        "fashion-mnist",
        (
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        ),
        "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion",
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
    ),
}
"""The sets that are known by name."""
