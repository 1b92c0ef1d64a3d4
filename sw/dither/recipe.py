"""The training recipe: how losses become steps. Validated, immutable, plain data.

Zeroth-order estimators (arXiv 2308.09858): with Rademacher probes xi and loss differences D,

- one side: ``g = mean over probes of [L(theta + mu xi) - L(theta)] / mu * xi``
- two sides: ``g = mean over probes of [L(theta + mu xi) - L(theta - mu xi)] / (2 mu) * xi``

``tensorwise`` perturbs one tensor at a time, ``layerwise`` all tensors of a layer, ``joint`` all of the network.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from .engine import EngineConfig
from .isa import Rule

__all__ = ["ESTIMATORS", "RATE_BITS", "RATE_SHIFT_MAX", "SCHEDULES", "SIDES", "ProbeGroup", "RateFormat", "Recipe"]

ESTIMATORS = ("tensorwise", "layerwise", "joint")
SIDES = ("one", "two")
SCHEDULES = ("constant", "cosine", "halving")

RATE_BITS = 18
"""Bits of the learning rate's mantissa, unsigned."""
RATE_SHIFT_MAX = 31
DIRECTION_FRAC = 12
"""Fraction bits of the direction that SIGN and ADAM make."""


@dataclass(frozen=True, slots=True)
class ProbeGroup:
    """Tensors that are perturbed together, and how many probes a tile they get."""

    tensors: tuple[str, ...]
    probes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Everything that decides a training run, next to model, data and number formats.

    :raises ValueError: on values out of range or sizes that do not divide.
    """

    batch: int = 512
    """Samples of one optimiser step."""
    tile: int = 64
    """Samples that share a probe; divides ``batch`` and is a multiple of the engine's lanes."""
    probes: int | tuple[int, ...] = 1
    """Probes per tile, N, of every group of tensors perturbed together; or one number for each layer's groups."""
    estimator: str = "tensorwise"
    """``tensorwise``, ``layerwise`` or ``joint``."""
    sides: str = "one"
    """``one``: against the base loss; ``two``: antithetic."""
    shared_probe: bool = False
    """All tiles of a step use the same probes."""
    mu: float = 0.01
    """Probe step, in parameter units; the engine uses the nearest multiple of a master parameter's unit."""
    rule: Rule = Rule.ADAM
    decay1: int = 3
    """beta1 = 1 - 2**-decay1 (ADAM, MOMENTUM)."""
    decay2: int = 1
    """beta2 = 1 - 2**-decay2 (ADAM)."""
    rate: float = 1e-3
    """Learning rate at step 0. MOMENTUM's steps add up to 2**decay1 times as much."""
    schedule: str = "constant"
    """``constant``; ``cosine`` to zero at ``schedule_steps``; ``halving`` every ``schedule_steps`` steps."""
    schedule_steps: int = 1000
    seed: int = 1
    """Seed of initial values, sample order and probes."""

    def __post_init__(self) -> None:
        def require(good: bool, message: str) -> None:
            if not good:
                raise ValueError(message)

        if isinstance(self.probes, list):
            object.__setattr__(self, "probes", tuple(self.probes))
        for name in ("batch", "tile", "schedule_steps"):
            value = getattr(self, name)
            require(type(value) is int and value >= 1, f"{name} must be a positive integer, not {value!r}")
        numbers = self.probes if isinstance(self.probes, tuple) else (self.probes,)
        good = bool(numbers) and all(type(value) is int and value >= 1 for value in numbers)
        require(good, f"probes must be positive integers, not {self.probes!r}")
        require(self.batch % self.tile == 0, f"tile ({self.tile}) must divide batch ({self.batch})")
        for name, known in (("estimator", ESTIMATORS), ("sides", SIDES), ("schedule", SCHEDULES)):
            value = getattr(self, name)
            require(value in known, f"{name} must be one of {', '.join(known)}, not {value!r}")
        for name in ("mu", "rate"):
            value = getattr(self, name)
            good = isinstance(value, (int, float)) and math.isfinite(value) and value > 0
            require(good, f"{name} must be a positive number, not {value!r}")
        for name in ("decay1", "decay2"):
            value = getattr(self, name)
            require(type(value) is int and 1 <= value <= 15, f"{name} must be from 1 to 15, not {value!r}")
        require(type(self.seed) is int and 0 <= self.seed < 1 << 32, f"seed must be of 32 bits, not {self.seed!r}")
        require(type(self.shared_probe) is bool, f"shared_probe must be True or False, not {self.shared_probe!r}")
        require(
            isinstance(self.probes, int) or self.estimator != "joint",
            "joint probes belong to all layers at once: give one number of probes",
        )
        require(
            isinstance(self.probes, int) or self.rule in (Rule.SIGN, Rule.ADAM),
            "numbers of probes by layer need a rule that does not depend on the gradient's scale: SIGN or ADAM",
        )
        require(self.rule in tuple(Rule), f"rule must be one of isa.Rule, not {self.rule!r}")
        object.__setattr__(self, "rule", Rule(self.rule))

    def check_engine(self, engine: EngineConfig) -> None:
        """Lane groups must fill tiles.

        :raises ValueError: if ``tile`` is no multiple of the engine's lanes.
        """
        if self.tile % engine.lanes:
            raise ValueError(f"tile ({self.tile} samples) must be a multiple of the engine's {engine.lanes} lanes")

    def groups(self, names: Iterable[str]) -> tuple[ProbeGroup, ...]:
        """The tensors that are perturbed together.

        :param names: all tensors, as ``layer.name``, in layer order.
        :raises ValueError: if ``probes`` names another number of layers than there are.
        """
        layers: dict[str, list[str]] = {}
        for name in names:
            layers.setdefault(name.split(".")[0], []).append(name)
        numbers = self.probes if isinstance(self.probes, tuple) else (self.probes,) * len(layers)
        if len(numbers) != len(layers):
            raise ValueError(f"probes has {len(numbers)} numbers, but the model has {len(layers)} layers")
        match self.estimator:
            case "joint":
                return (ProbeGroup(tuple(name for layer in layers.values() for name in layer), numbers[0]),)
            case "layerwise":
                return tuple(ProbeGroup(tuple(layer), n) for layer, n in zip(layers.values(), numbers, strict=True))
            case _:
                pairs = zip(layers.values(), numbers, strict=True)
                return tuple(ProbeGroup((name,), n) for layer, n in pairs for name in layer)

    @property
    def most_probes(self) -> int:
        """The largest number of probes of any group: how far probe numbers of successive tiles lie apart."""
        return max(self.probes) if isinstance(self.probes, tuple) else self.probes

    @property
    def tiles(self) -> int:
        """Probe tiles of a step."""
        return self.batch // self.tile

    @property
    def evaluations(self) -> int:
        """Perturbed loss evaluations per probe: 1 or 2."""
        return 1 + (self.sides == "two")

    def rate_at(self, step: int) -> float:
        """The scheduled learning rate of step ``step`` (from 0), without Adam's bias correction."""
        match self.schedule:
            case "cosine":
                progress = min(step / self.schedule_steps, 1.0)
                return self.rate * 0.5 * (1 + math.cos(math.pi * progress))
            case "halving":
                return math.ldexp(self.rate, -(step // self.schedule_steps))
            case _:
                return self.rate

    def bias_correction(self, step: int) -> float:
        """What Adam's rate is multiplied by in step ``step`` (from 0): sqrt(1 - beta2^t) / (1 - beta1^t), t = step + 1.

        1 for the other rules (Kingma and Ba, *Adam*, 2015, section 2).
        """
        if self.rule is not Rule.ADAM:
            return 1.0
        t = step + 1
        beta1, beta2 = (1 - math.ldexp(1.0, -decay) for decay in (self.decay1, self.decay2))
        return math.sqrt(1 - beta2**t) / (1 - beta1**t)

    @property
    def largest_rate(self) -> float:
        """An upper bound on the corrected rate of any step.

        No schedule exceeds ``rate``, and the correction is highest in step 0 or approaches 1 from below.
        """
        horizon = 1 + (16 << max(self.decay1, self.decay2))
        return self.rate * max(1.0, *(self.bias_correction(step) for step in range(min(horizon, 1 << 12))))

    def to_dict(self) -> dict[str, Any]:
        """All fields as plain data, for JSON; the rule by its name."""
        return asdict(self) | {"rule": self.rule.name}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Recipe:
        """The inverse of :meth:`to_dict`.

        :raises ValueError: on unknown fields, an unknown rule or values out of range.
        """
        if unknown := sorted(set(values) - set(cls.__dataclass_fields__)):
            raise ValueError(f"unknown recipe fields: {', '.join(unknown)}")
        fields = dict(values)
        if isinstance(rule := fields.get("rule"), str):
            if rule.upper() not in Rule.__members__:
                raise ValueError(f"rule must be one of {', '.join(Rule.__members__)}, not {rule!r}")
            fields["rule"] = Rule[rule.upper()]
        return cls(**fields)


@dataclass(frozen=True, slots=True)
class RateFormat:
    """How learning rates travel: one 18-bit mantissa a step for all tensors, a fixed shift per tensor.

    A master parameter moves by ``direction * mantissa / 2**rate_shift`` units. The direction of SIGN and ADAM has 12
    fraction bits; that of SGD and MOMENTUM is the gradient accumulator over ``2**gradient_shift``, in units of
    ``2**-loss_frac`` summed over batch and probes. The parts of the conversion that are no powers of two
    (``scale = 1 / (batch * probes * mu * sides)`` for SGD and MOMENTUM) go into the mantissa, the others into shifts:
    ``mantissa = round(rate * scale * 2**exponent)``.
    """

    exponent: int
    scale: float
    shifts: Mapping[str, int]
    """rate_shift by tensor name."""

    @classmethod
    def plan(
        cls, recipe: Recipe, master_fracs: Mapping[str, int], gradient_shifts: Mapping[str, int], loss_frac: int
    ) -> RateFormat:
        """The finest common mantissa that every tensor's shift (0 to 31) allows.

        :param master_fracs: fraction bits of the masters by tensor name.
        :param gradient_shifts: ``gradient_shift`` by tensor name.
        :raises ValueError: naming the tensor that the recipe's learning rate would throw across its range.
        """
        if recipe.rule in (Rule.SIGN, Rule.ADAM):
            scale = 1.0
            offsets = {name: frac - DIRECTION_FRAC for name, frac in master_fracs.items()}
        else:
            scale = 1 / (recipe.batch * recipe.most_probes * recipe.mu * recipe.evaluations)
            offsets = {name: frac - loss_frac + gradient_shifts[name] for name, frac in master_fracs.items()}
        largest = recipe.largest_rate * scale
        exponent = math.floor(math.log2(((1 << RATE_BITS) - 1) / largest))
        exponent = min(exponent, min(offsets.values()) + RATE_SHIFT_MAX)
        tight = max(offsets, key=lambda name: offsets[name])
        if exponent < offsets[tight]:
            raise ValueError(f"a learning rate of {recipe.rate:g} is too large for tensor {tight}'s number format")
        return cls(exponent, scale, {name: exponent - offset for name, offset in offsets.items()})

    def mantissa(self, recipe: Recipe, step: int) -> int:
        """The number to send for step ``step`` (from 0), bias correction included."""
        rate = recipe.rate_at(step) * recipe.bias_correction(step) * self.scale
        return min(math.floor(math.ldexp(rate, self.exponent) + 0.5), (1 << RATE_BITS) - 1)
