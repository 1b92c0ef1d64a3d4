"""The training recipe: how losses become steps. Validated, immutable, plain data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ..arch.config import EngineConfig
from ..arch.isa import Rule
from .estimators import DEFAULT, ESTIMATORS

__all__ = ["DISTRIBUTIONS", "LOCAL_LOSSES", "SCHEDULES", "SHRINKAGES", "SIDES", "SLOWEST_DECAY", "Recipe"]

DISTRIBUTIONS = ("rademacher", "uniform", "gaussian")
SHRINKAGES = ("none", "linear", "root")
SIDES = ("one", "two")
SCHEDULES = ("constant", "cosine", "halving")
LOCAL_LOSSES = ("l2", "l1")
MOST_PROBES = (1 << 16) - 1
"""An engine's loop counts no further."""
SLOWEST_DECAY = 12
"""Moments have fraction bits enough for decays up to this one (docs/arithmetic.md)."""


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
    """Probes per tile, N, of every group of tensors perturbed together; or one number for each
    layer's groups.
    """
    estimator: str | tuple[str, ...] = DEFAULT
    """One of :data:`~dither.recipe.estimators.ESTIMATORS` for all layers, or one for each."""
    distribution: str = "rademacher"
    """Distribution of probes of parameters, one of :data:`DISTRIBUTIONS`."""
    shrinkage: str = "none"
    """What the rate is multiplied by, with N random probes in d dimensions: ``linear`` N/(N+d-1),
    ``root`` its root, to the nearest power of two."""
    sides: str = "one"
    """``one``: against the base loss; ``two``: antithetic."""
    shared_probe: bool = False
    """All tiles of a step use the same probes."""
    mu: float = 0.01
    """Probe step, in parameter units; the engine uses the nearest multiple of a master parameter's
    unit.
    """
    activity_mu: float = 2**-5
    """Step of perturbed activities, in their units (``activity``, ``regression``, ``mirror``)."""
    feedback_slowness: int = 3
    """Learned feedback matrices' rate is ``2**-feedback_slowness`` of the others' (``regression``,
    ``mirror``).
    """
    feedback_ranks: int | None = None
    """How learned feedback matrices are held (``regression``, ``mirror``): 0 plain, another number
    as tensor trains of these inner ranks. None: as a train of the shape of the layer behind, where
    that is a train, the network's last layer and smaller than a plain matrix; plain elsewhere."""
    local_loss: str = "l2"
    """``l2`` or ``l1``, of ``target``."""
    projection: float = 1.0
    """Magnitude of fixed random matrices' entries (``feedback``, ``projection``, ``target``)."""
    hidden_headroom: int = 4
    """Bits by which hidden layers' activations may outgrow those of the initial network before they
    saturate.
    """
    rule: Rule = Rule.ADAM
    decay1: int = 3
    """Decay of first moments (ADAM, MOMENTUM, SIGN_MOMENTUM): beta1 = 1 - 2**-decay1."""
    decay2: int = 1
    """Decay of second moments (ADAM): beta2 = 1 - 2**-decay2."""
    rate: float = 1e-3
    """Learning rate at step 0. MOMENTUM's steps add up to 2**decay1 times as much. Steps that are
    solved for (``residualwise``) are cut to this root mean square of all parameters' changes."""
    schedule: str = "constant"
    """``constant``; ``cosine`` to zero at ``schedule_steps``; ``halving`` every ``schedule_steps``
    steps.
    """
    schedule_steps: int = 1000
    seed: int = 1
    """Seed of initial values, sample order and probes."""

    def __post_init__(self) -> None:
        def require(good: bool, message: str) -> None:
            if not good:
                raise ValueError(message)

        for name in ("probes", "estimator"):
            if isinstance(value := getattr(self, name), list):
                object.__setattr__(self, name, tuple(value))
        for name in ("batch", "tile", "schedule_steps"):
            value = getattr(self, name)
            require(type(value) is int and value >= 1, f"{name} must be a positive integer, not {value!r}")
        numbers = self.probes if isinstance(self.probes, tuple) else (self.probes,)
        good = bool(numbers) and all(type(value) is int and 1 <= value <= MOST_PROBES for value in numbers)
        require(good, f"probes must be integers from 1 to {MOST_PROBES}, not {self.probes!r}")
        require(self.batch % self.tile == 0, f"tile ({self.tile}) must divide batch ({self.batch})")
        for name, known in (
            ("sides", SIDES),
            ("schedule", SCHEDULES),
            ("distribution", DISTRIBUTIONS),
            ("shrinkage", SHRINKAGES),
            ("local_loss", LOCAL_LOSSES),
        ):
            value = getattr(self, name)
            require(value in known, f"{name} must be one of {', '.join(known)}, not {value!r}")
        estimators = self.estimator if isinstance(self.estimator, tuple) else (self.estimator,)
        for value in estimators:
            require(value in ESTIMATORS, f"estimator must be one of {', '.join(ESTIMATORS)}, not {value!r}")
        require(len(estimators) >= 1, "estimator must name at least one")
        for name in ("mu", "activity_mu", "projection", "rate"):
            value = getattr(self, name)
            good = isinstance(value, (int, float)) and 1e-9 <= value <= 1e9
            require(good, f"{name} must be a positive number from 1e-9 to 1e9, not {value!r}")
        for name in ("decay1", "decay2"):
            value = getattr(self, name)
            good = type(value) is int and 1 <= value <= SLOWEST_DECAY
            require(good, f"{name} must be from 1 to {SLOWEST_DECAY}, not {value!r}")
        # A direction is below 32; Adam's may come to 2**(decay2 / 2 - decay1) * sqrt(4/3).
        good = self.rule is not Rule.ADAM or self.decay2 < 10 + 2 * self.decay1
        require(good, f"decay2 must be at most {9 + 2 * self.decay1} with decay1 {self.decay1}, not {self.decay2}")
        slowness = self.feedback_slowness
        good = type(slowness) is int and 0 <= slowness <= 15
        require(good, f"feedback_slowness must be from 0 to 15, not {slowness!r}")
        ranks = self.feedback_ranks
        good = ranks is None or (type(ranks) is int and 0 <= ranks <= 256)
        require(good, f"feedback_ranks must be from 0 to 256, or none for the layer's own, not {ranks!r}")
        bits = self.hidden_headroom
        require(type(bits) is int and 0 <= bits <= 12, f"hidden_headroom must be from 0 to 12, not {bits!r}")
        require(type(self.seed) is int and 0 <= self.seed < 1 << 32, f"seed must be of 32 bits, not {self.seed!r}")
        require(type(self.shared_probe) is bool, f"shared_probe must be True or False, not {self.shared_probe!r}")
        for value in estimators:
            require(
                not ESTIMATORS[value].alone or (isinstance(self.probes, int) and set(estimators) == {value}),
                f"{value} probes belong to all layers at once: give one estimator and one number of probes",
            )
        require(self.rule in tuple(Rule), f"rule must be one of isa.Rule, not {self.rule!r}")
        object.__setattr__(self, "rule", Rule(self.rule))
        require(
            self.rule.scale_free or self._one_scale(set(estimators)),
            "estimators or numbers of probes by layer need a rule that does not depend on the gradient's scale: "
            "SIGN, ADAM or SIGN_MOMENTUM",
        )

        solved = [value for value in estimators if ESTIMATORS[value].solved]
        require(
            not solved or (self.rule is Rule.SGD and self.shared_probe),
            f"{''.join(solved[:1])} solves for steps from what all points make of the same probes: use rule sgd and "
            "shared_probe",
        )

    def _one_scale(self, estimators: set[str]) -> bool:
        """Whether all gradients are estimates of one scale: of one estimator, or all from whole
        error signals.
        """
        traits = [ESTIMATORS[name] for name in estimators]
        return all(each.whole for each in traits) or (
            len(traits) == 1 and not traits[0].learned and isinstance(self.probes, int)
        )

    def check_engine(self, engine: EngineConfig) -> None:
        """Lane groups must fill tiles.

        :raises ValueError: if ``tile`` is no multiple of the engine's lanes.
        """
        if self.tile % engine.lanes:
            raise ValueError(
                f"tile ({self.tile} samples) must be a multiple of the engine's {engine.lanes} lanes; choose another "
                "tile, or an engine with other lanes"
            )

    def by_layer(self, layers: int) -> list[tuple[str, int]]:
        """Estimator and number of probes of each layer.

        :raises ValueError: if the recipe names another number of layers.
        """
        found: list[tuple[Any, ...]] = []
        for name in ("estimator", "probes"):
            value = getattr(self, name)
            values = value if isinstance(value, tuple) else (value,) * layers
            if len(values) != layers:
                raise ValueError(f"{name} has {len(values)} entries, but the model has {layers} layers")
            found.append(values)
        return list(zip(*found, strict=True))

    @property
    def most_probes(self) -> int:
        """The largest number of probes of any group: how far probe numbers of successive tiles lie
        apart.
        """
        return max(self.probes) if isinstance(self.probes, tuple) else self.probes

    @property
    def tiles(self) -> int:
        """Probe tiles of a step."""
        return self.batch // self.tile

    @property
    def probe_tiles(self) -> int:
        """Tiles of a step that have probes of their own."""
        return 1 if self.shared_probe else self.tiles

    @property
    def solved(self) -> bool:
        """Whether the host solves for steps, so that a step takes several commands."""
        return isinstance(self.estimator, str) and ESTIMATORS[self.estimator].solved

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
        """What Adam's rate is multiplied by in step ``step`` (from 0): sqrt(1 - beta2^t) / (1 -
        beta1^t), t = step + 1.

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

        No schedule exceeds ``rate``, and the correction is highest in step 0 or approaches 1 from
        below.
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
            known = ", ".join(cls.__dataclass_fields__)
            raise ValueError(f"unknown recipe fields: {', '.join(unknown)}; known: {known}")
        fields = dict(values)
        if isinstance(rule := fields.get("rule"), str):
            if rule.upper() not in Rule.__members__:
                raise ValueError(f"rule must be one of {', '.join(Rule.__members__)}, not {rule!r}")
            fields["rule"] = Rule[rule.upper()]
        return cls(**fields)
