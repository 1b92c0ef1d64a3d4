"""Run folders: what a training run leaves behind, checkpoints, and comparison of two runs."""

from .folder import CurveRow, RunError, RunFolder, TensorRecord, default_folder, parameter_digest

__all__ = ["CurveRow", "RunError", "RunFolder", "TensorRecord", "default_folder", "parameter_digest"]
