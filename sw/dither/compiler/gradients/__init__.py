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
from .target import Target
from .tensorwise import Tensorwise
from .together import calibrated, gradient_codes

__all__ = [
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
    Activity,
    Exact,
    Regression,
    Mirror,
    Feedback,
    Projection,
    Target,
):
    register(_each)
