"""Run folders: what a training run leaves behind, checkpoints, and comparison of two runs."""

from .curve import CurveRow, TensorRecord, parameter_digest
from .folder import RunError, RunFolder, default_folder

__all__ = ["CurveRow", "RunError", "RunFolder", "TensorRecord", "default_folder", "parameter_digest"]
