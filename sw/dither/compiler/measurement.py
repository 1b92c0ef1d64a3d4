"""How large the gradients of local learning become: a step on the golden machine decides UPDATE's
first shift.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from ..arch.config import EngineConfig
from ..arch.isa import GRADIENT_BITS, Rule
from ..golden import GoldenMachine
from ..nn.models import Parameters
from ..recipe import Recipe
from .compiled import Compiled
from .errors import CompileError
from .formats.forward import Formats
from .formats.probes import shift_to_target

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
    build: Callable[[EngineConfig, Formats, Recipe], Compiled],
    recipe: Recipe,
    engine: EngineConfig,
    formats: Formats,
    parameters: Parameters,
    inputs: ArrayLike,
    targets: ArrayLike,
) -> Formats:
    """Formats with gradient shifts for all tensors that local estimators serve.

    The measurement runs on a geometry of its own, so that its result does not depend on the
    engine's. Learned matrices begin at zero, where they would hide what they are for: it is
    measured with random ones.

    :param build: makes the program whose gradients are local ones alone.
    """
    small = _small(recipe)
    nominal = replace(
        engine,
        rows=8,
        lanes=small.tile,
        lanes_per_table=1,
        activation_depth=_DEPTH,
        parameter_depth=_DEPTH,
        program_depth=_DEPTH,
        local_learning=1,
        compact=0,
    )
    compiled = build(nominal, formats, small)
    layers = recipe.local_layers(len(compiled.plans))
    names = [name for name, tensor in compiled.tensors.items() if tensor.layout.layer in layers]
    rng = np.random.default_rng(0)
    learned = {
        name: compiled.tensors[name].format.limit / MATRIX_SHARE * rng.choice((-1.0, 1.0), compiled.tensors[name].shape)
        for name in names
        if name not in parameters
    }
    machine = GoldenMachine(nominal)
    machine.write_program(compiled.program)
    samples = np.asarray(inputs)
    chosen = np.arange(small.batch) % len(samples)
    commands = (
        compiled.setup(),
        compiled.load_state(compiled.initial_state({**parameters, **learned})),
        compiled.gradients(0, samples[chosen], np.asarray(targets)[chosen]),
    )
    for command in commands:
        result = machine.run(command.entry, command.inputs, command.expects)
    machine.close()
    _, gradients = compiled.read_gradients(result.outputs)
    probes = dict(enumerate(recipe.by_layer(len(compiled.plans))))
    shifts = dict(formats.gradient_shifts)
    for name in names:
        estimator, number = probes[compiled.tensors[name].layout.layer]
        summed = estimator == "activity" or (estimator == "regression" and name not in parameters)
        more = number / min(number, PROBES) if summed else 1.0
        rms = math.sqrt(float(np.mean(gradients[name].astype(np.float64) ** 2)) * recipe.batch / small.batch * more)
        if rms * 2.0**MARGIN >= 2.0 ** (GRADIENT_BITS - 1):
            raise CompileError(
                f"{name}: gradients of {rms:.3g} on average leave their {GRADIENT_BITS}-bit accumulators less than "
                f"{MARGIN} bits; use a smaller batch"
            )
        shifts[name] = shift_to_target(rms, 0)
    return replace(formats, gradient_shifts=shifts)
