"""The compiler: model + recipe + engine configuration -> program.

planner (contraction orders) → formats (binary points, proofs) → tensors and memory (addresses) →
contraction and emit (instructions) → :class:`Compiled`, which also quantises samples and reads what
comes back.
"""

from .compiled import Command, Compiled, Evaluation, State, StepReport
from .errors import CompileError
from .formats.forward import Formats, Headroom, LayerFormats, Proof
from .layout.tensors import Layout, Tensor
from .physics import compile_physics
from .pipeline import compile
from .plan.planner import LayerPlan, Step, layer_orders, plan_layers

__all__ = [
    "Command",
    "CompileError",
    "Compiled",
    "Evaluation",
    "Formats",
    "Headroom",
    "LayerFormats",
    "LayerPlan",
    "Layout",
    "Proof",
    "State",
    "Step",
    "StepReport",
    "Tensor",
    "compile",
    "compile_physics",
    "layer_orders",
    "plan_layers",
]
