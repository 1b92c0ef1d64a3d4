"""Ways to a gradient, one file each; see :mod:`~dither.compiler.gradients.estimator` for what they
have in common.
"""

from .activity import Activity
from .coordinate import Coordinate
from .estimator import Estimator, GradientCode, Places, Sharing, estimators, register
from .exact import Exact
from .feedback import Feedback
from .joint import Joint
from .layerwise import Layerwise
from .local import LocalEstimator
from .mirror import Mirror
from .projection import Projection
from .regression import Regression
from .residualwise import COEFFICIENT_FRAC, DAMPINGS, Residualwise
from .target import Target
from .tensorwise import Tensorwise
from .together import calibrated, gradient_codes

__all__ = [
    "COEFFICIENT_FRAC",
    "DAMPINGS",
    "Estimator",
    "GradientCode",
    "LocalEstimator",
    "Places",
    "Sharing",
    "calibrated",
    "estimators",
    "gradient_codes",
    "register",
]

for _each in (
    Tensorwise,
    Layerwise,
    Joint,
    Coordinate,
    Residualwise,
    Activity,
    Exact,
    Regression,
    Mirror,
    Feedback,
    Projection,
    Target,
):
    register(_each)
