"""The compiler: model + objective + recipe + engine configuration -> program.

``plan`` (contraction orders) → ``formats`` (binary points, proofs) → ``layout`` (addresses) →
``code``, ``objectives`` and ``gradients`` (instructions) → :class:`Compiled`, the program with its
commands and figures.
"""

from .commands import Command, Commands, Evaluation, State
from .compiled import Compiled
from .emitter import Exchange
from .errors import CompileError, ShortageError
from .figures import Figures, StepReport
from .formats.forward import Formats, Headroom, LayerFormats, Proof
from .gradients import DAMPINGS
from .inference import Inference, compile_inference, formats_from_dict, formats_to_dict
from .layout.tensors import Layout, Tensor
from .objectives import Collocation, Labelled, Objective
from .pipeline import compile
from .plan.planner import LayerPlan, Step, layer_orders, plan_layers
from .sharing import NUMBER_BYTES, SharedCommands, fewest_bytes
from .solving import Probed, SolvingCommands

__all__ = [
    "DAMPINGS",
    "NUMBER_BYTES",
    "Collocation",
    "Command",
    "Commands",
    "CompileError",
    "Compiled",
    "Evaluation",
    "Exchange",
    "Figures",
    "Formats",
    "Headroom",
    "Inference",
    "Labelled",
    "LayerFormats",
    "LayerPlan",
    "Layout",
    "Objective",
    "Probed",
    "Proof",
    "SharedCommands",
    "ShortageError",
    "SolvingCommands",
    "State",
    "Step",
    "StepReport",
    "Tensor",
    "compile",
    "compile_inference",
    "fewest_bytes",
    "formats_from_dict",
    "formats_to_dict",
    "layer_orders",
    "plan_layers",
]
