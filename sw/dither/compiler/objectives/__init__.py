"""What networks are trained for: labelled samples, or the residual of a differential equation."""

from .collocation import Collocation
from .labelled import Labelled
from .objective import Objective

__all__ = ["Collocation", "Labelled", "Objective"]
