"""Data sets that are not bundled: read from a folder or downloaded once, and checked."""

from .files import DATA_VARIABLE, DataError, RemoteFile, data_folder, read_file
from .idx import read_idx
from .mnist import Images, load_mnist

__all__ = ["DATA_VARIABLE", "DataError", "Images", "RemoteFile", "data_folder", "load_mnist", "read_file", "read_idx"]
