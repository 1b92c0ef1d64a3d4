"""How large gradients become that no probe of the float network tells: a step on the golden machine
decides UPDATE's first shift.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..arch.isa import GRADIENT_BITS, Rule
from ..golden import GoldenMachine
from ..nn.models import Parameters
from ..recipe import Recipe
from .compiled import Compiled
from .errors import CompileError
from .formats.forward import Formats
from .formats.probes import shift_to_target
from .gradients import Estimator, estimators
from .plan.setting import Setting

__all__ = ["measured"]

PROBES = 8
"""Probes of a measurement; sums of more are larger by the square root of their ratio."""
SAMPLES = 512
"""Samples of a measurement; a batch's sums are larger by the root of the ratio too, for errors have
all signs.
"""
MARGIN = 4
"""Bits between the root mean square of an accumulator and its end. A sum of products with
full-scale factors would need more bits than it has: no proof, but 16 times the measured size."""
MATRIX_SHARE = 32
"""Learned matrices' range over the magnitude that they are measured with."""
_DEPTH = 1 << 15


def _small(recipe: Recipe) -> Recipe:
    """The recipe with a batch of one tile of at most :data:`SAMPLES`, few probes, and a rule of no
    scale.
    """
    samples = next(size for size in range(min(recipe.tile, SAMPLES), 0, -1) if recipe.tile % size == 0)
    probes = recipe.probes if isinstance(recipe.probes, tuple) else (recipe.probes,)
    few = tuple(min(number, PROBES) for number in probes)
    return replace(
        recipe, batch=samples, tile=samples, probes=few if isinstance(recipe.probes, tuple) else few[0], rule=Rule.ADAM
    )


def measured(
    build: Callable[[Setting, Formats, Sequence[Estimator]], Compiled],
    setting: Setting,
    formats: Formats,
    parameters: Parameters,
    inputs: ArrayLike,
    targets: ArrayLike,
) -> Formats:
    """Formats with gradient shifts for all tensors of estimators that want them measured.

    The measurement runs on a geometry of its own, so that its result does not depend on the
    engine's. Learned matrices that begin at zero would hide there what they are for: it is
    measured with random ones.

    :param build: makes a program whose gradients come from some estimators.
    """
    small = _small(setting.recipe)
    nominal = replace(
        setting.engine,
        rows=8,
        lanes=small.tile,
        lanes_per_table=1,
        activation_depth=_DEPTH,
        parameter_depth=_DEPTH,
        program_depth=_DEPTH,
        word_parts=1,
        local_learning=1,
        compact=0,
    )
    trial = replace(setting, recipe=small, engine=nominal)
    few = [each for each in estimators(trial, formats) if each.measured]
    compiled = build(trial, formats, few)
    wanted = {name: each for each in few for name in each.steppings()}
    rng = np.random.default_rng(0)
    learned = {
        name: tensor.format.limit / MATRIX_SHARE * rng.choice((-1.0, 1.0), tensor.shape)
        for name, tensor in compiled.tensors.items()
        if name in wanted and name not in parameters and name not in compiled.initial
    }
    gradients = _gradients(compiled, {**parameters, **learned}, inputs, targets)
    all_probes = {each.layers: each for each in estimators(setting, formats)}
    shifts = dict(formats.gradient_shifts)
    for name, each in wanted.items():
        more = all_probes[each.layers].terms(name) / each.terms(name)
        square = float(np.mean(gradients[name].astype(np.float64) ** 2))
        rms = math.sqrt(square * setting.recipe.batch / small.batch * more)
        if rms * 2.0**MARGIN >= 2.0 ** (GRADIENT_BITS - 1):
            raise CompileError(
                f"{name}: gradients of {rms:.3g} on average leave their {GRADIENT_BITS}-bit accumulators less than "
                f"{MARGIN} bits; use a smaller batch"
            )
        shifts[name] = shift_to_target(rms, 0)
    return replace(formats, gradient_shifts=shifts)


def _gradients(
    compiled: Compiled, parameters: Parameters, inputs: ArrayLike, targets: ArrayLike
) -> dict[str, NDArray[np.int64]]:
    """Gradient accumulators after one step of a program on the golden machine."""
    machine, commands = GoldenMachine(compiled.engine), compiled.commands
    machine.write_program(compiled.program)
    samples = np.asarray(inputs)
    chosen = np.arange(compiled.recipe.batch) % len(samples)
    for command in (
        commands.setup(),
        commands.load_state(commands.initial_state(parameters)),
        commands.gradients(0, samples[chosen], np.asarray(targets)[chosen]),
    ):
        result = machine.run(command.entry, command.inputs, command.expects)
    machine.close()
    return commands.read_gradients(result.outputs)[1]
