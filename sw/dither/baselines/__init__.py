"""First-order yardsticks: the same networks and data, trained by back-propagation in PyTorch."""

from .recipe import Baseline
from .results import BaselineRow, Result, write_result
from .run import default_baseline, train_baseline

__all__ = ["Baseline", "BaselineRow", "Result", "default_baseline", "train_baseline", "write_result"]
