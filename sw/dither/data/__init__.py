"""Data sets: read from a folder or downloaded once, and checked; or made, and kept in the cache."""

from .files import DATA_VARIABLE, DataError, RemoteFile, data_folder, read_file
from .idx import read_idx
from .images import IMAGE_SETS, Images, ImageSet
from .keywords import load_keywords
from .mnist1d import load_mnist1d
from .samples import Samples, as_inputs, as_labels, read_samples, write_samples
from .scaling import AS_THEY_ARE, SCALINGS, Scaling
from .vowels import load_japanese_vowels

__all__ = [
    "AS_THEY_ARE",
    "DATA_VARIABLE",
    "IMAGE_SETS",
    "SCALINGS",
    "DataError",
    "ImageSet",
    "Images",
    "RemoteFile",
    "Samples",
    "Scaling",
    "as_inputs",
    "as_labels",
    "data_folder",
    "load_japanese_vowels",
    "load_keywords",
    "load_mnist1d",
    "read_file",
    "read_idx",
    "read_samples",
    "write_samples",
]
