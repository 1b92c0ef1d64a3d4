"""Proofs that no accumulator overflows, and the finest loss that they allow."""

from __future__ import annotations

from ...arch.config import EngineConfig
from ...arch.fixedpoint import FixedPoint
from ...arch.isa import GRADIENT_BITS, WORD_BITS, Distribution
from ...nn.models import Model
from ...recipe import Recipe
from ..errors import CompileError
from ..plan.planner import LayerPlan
from .forward import LayerFormats, Proof

__all__ = ["accumulator_proofs", "choose_loss_frac", "loss_bound"]

_LOSS_CLIP = (1 << 24) - 1


def accumulator_proofs(plan: LayerPlan, formats: LayerFormats, engine: EngineConfig) -> list[Proof]:
    """Proves for each of a layer's contractions that its accumulators cannot overflow.

    K products of full-scale factors, bias and rounding fit.

    :raises CompileError: naming the tensor with too many inputs.
    """
    product = 1 << (2 * engine.width - 2)
    proofs = []
    for number, (step, shift) in enumerate(zip(plan.steps, formats.shifts, strict=True)):
        bound = step.K * product + (1 << shift >> 1)
        if number == len(plan.steps) - 1 and formats.constant is not None:
            bound += 1 << (engine.width - 1 + formats.constant)
        if bound >= 1 << (engine.accumulator_width - 1):
            raise CompileError(
                f"{step.tensor}: {step.K} inputs could overflow the {engine.accumulator_width}-bit accumulator; "
                "factor the layer into a tensor train or smaller ranks"
            )
        proofs.append(Proof(f"accumulator of {step.tensor}", bound, engine.accumulator_width))
    return proofs


def loss_bound(model: Model, output: FixedPoint, loss_frac: int) -> int:
    """No sample's loss exceeds this, in units of ``2**-loss_frac``."""
    span = (1 << output.width) - 1
    if model.loss == "squared_error":
        bound, frac = model.outputs * span**2, 2 * output.frac
    else:
        # ln(sum of exponentials) <= ln C, computed as a multiple of the rounded-up ln 2; then the
        # label's distance.
        bound, frac = model.outputs.bit_length() * 45427 + (span << (16 - output.frac)), 16
    shift = frac - loss_frac
    rounded = (bound >> shift) + 1 if shift > 0 else bound << -shift
    return min(rounded, _LOSS_CLIP)


def choose_loss_frac(model: Model, recipe: Recipe, output: FixedPoint) -> tuple[int, list[Proof]]:
    """The largest ``loss_frac`` up to 16 for which neither a batch's sum of losses nor a gradient
    can overflow.

    :returns: it, and the proofs.
    :raises CompileError: if there is none.
    """
    # Losses are not negative, so a difference of two sums, on one side or two, is no larger than
    # one sum.
    factor = recipe.most_probes * Distribution[recipe.distribution.upper()].largest
    for frac in range(16, -1, -1):
        total = loss_bound(model, output, frac) * recipe.batch
        if total < 1 << (WORD_BITS - 1) and total * factor < 1 << (GRADIENT_BITS - 1):
            return frac, [
                Proof("sum of losses", total, WORD_BITS),
                Proof("gradient accumulators", total * factor, GRADIENT_BITS),
            ]
    raise CompileError(
        f"{recipe.batch} samples and {recipe.most_probes} probes could overflow sums of losses or gradients; "
        "use a smaller batch or fewer probes"
    )
