"""The engine's configuration: every parameter that gateware, golden machine and compiler share."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from typing import Any

from .isa import GRADIENT_BITS

__all__ = ["PRESETS", "EngineConfig", "engine", "engine_name", "preset"]

_ROWS = (1, 2, 4, 8)
_WIDTHS = (16, 18)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineConfig:
    """Geometry and number formats of one engine.

    ``rows``, ``lanes`` and the depths are *geometry*: they change speed, never results.
    ``width`` and ``table_bits`` are *numerics*: two engines give the same bits only if they
    agree on them.
    """

    rows: int = 4
    """Outputs computed at once, R: 1, 2, 4 or 8 (a weight word holds R weights)."""
    lanes: int = 32
    """Samples computed at once, L: 1 to 4096 (an activation word holds L activations; gateware
    takes up to 64).
    """
    width: int = 18
    """Bits of an activation and of a working weight, W: 16 or 18."""
    activation_depth: int = 4096
    """Words of the activation memory (L x W bits each)."""
    parameter_depth: int = 2048
    """Words of the working-weight, master, gradient and moment memories."""
    program_depth: int = 4096
    """Words of the program memory (32 bits each)."""
    table_bits: int = 9
    """log2 of the segments of every piecewise-linear table: 6 to 10."""
    activation_tables: int = 2
    """Activation-function tables in the drain: 0 (ReLU only), 1, 2 or 4."""
    lanes_per_table: int = 4
    """Lanes that share one interpolator in the drain; divides ``lanes``."""
    rounds_per_cycle: int = 1
    """Rounds of the perturbation generator computed per cycle: 1, 2 or 4."""

    word_parts: int = 1
    """Parts of a word that streams, PERTURB, ACCUMULATE and UPDATE handle one after the other:
    memories of masters, gradients and moments, and beats, are so many times narrower. 1, or a
    divisor of ``rows`` and ``lanes``."""

    wide_probes: int = 1
    """1: probes may be uniform or Gaussian-like; 0: only Rademacher or a single coordinate."""
    local_learning: int = 1
    """1: there are CORRELATE, DITHER, TRANSPOSE, lane-wise operands and per-sample losses; 0: they
    are left out.
    """
    compact: int = 0
    """1: the smallest engine: sequential units, one row, memories for an iCE40 UltraPlus; same
    results, more cycles.
    """

    def __post_init__(self) -> None:
        def require(good: bool, message: str) -> None:
            if not good:
                raise ValueError(message)

        for name, value in asdict(self).items():
            require(type(value) is int, f"{name} must be an integer, not {value!r}")
        require(self.rows in _ROWS, f"rows must be one of {_ROWS}, not {self.rows}")
        require(1 <= self.lanes <= 4096, f"lanes must be from 1 to 4096, not {self.lanes}")
        require(self.width in _WIDTHS, f"width must be one of {_WIDTHS}, not {self.width}")
        for name in ("activation_depth", "parameter_depth", "program_depth"):
            depth = getattr(self, name)
            require(16 <= depth <= 1 << 15, f"{name} must be from 16 to 32768, not {depth}")
        require(6 <= self.table_bits <= 10, f"table_bits must be from 6 to 10, not {self.table_bits}")
        require(
            self.activation_tables in (0, 1, 2, 4),
            f"activation_tables must be 0, 1, 2 or 4, not {self.activation_tables}",
        )
        require(
            1 <= self.lanes_per_table <= self.lanes and self.lanes % self.lanes_per_table == 0,
            f"lanes_per_table must divide lanes ({self.lanes}), not {self.lanes_per_table}",
        )
        require(
            self.rounds_per_cycle in (1, 2, 4),
            f"rounds_per_cycle must be 1, 2 or 4, not {self.rounds_per_cycle}",
        )

        for name in ("wide_probes", "local_learning", "compact"):
            require(getattr(self, name) in (0, 1), f"{name} must be 0 or 1, not {getattr(self, name)}")
        parts = self.word_parts
        require(
            parts >= 1 and self.rows % parts == 0 and self.lanes % parts == 0,
            f"word_parts must divide rows ({self.rows}) and lanes ({self.lanes}), not {parts}",
        )
        require(
            self.parameter_depth * parts <= 1 << 16,
            f"parameter_depth must be at most {(1 << 16) // parts} with {parts} word_parts, not {self.parameter_depth}",
        )
        require(
            parts == 1 or not self.local_learning, "an engine with local_learning cannot have more than 1 word_parts"
        )
        if self.compact:
            fixed = {"rows": 1, "width": 16, "activation_tables": 0, "wide_probes": 0, "local_learning": 0}
            for name, value in fixed.items():
                require(getattr(self, name) == value, f"{name} of a compact engine must be {value}")
            # A tile's addresses take as long as eight lanes' drain; fields behind CONTRACT's single
            # bits have eleven bits.
            limits = {"lanes": 8, "activation_depth": 2048, "parameter_depth": 2048, "program_depth": 1 << 14}
            for name, most in limits.items():
                require(getattr(self, name) <= most, f"{name} of a compact engine must be at most {most}")

    @property
    def multipliers(self) -> int:
        """Multiply-accumulates per cycle."""
        return self.rows * self.lanes

    @property
    def part_bits(self) -> int:
        """Address bits that tell a word's parts."""
        return (self.word_parts - 1).bit_length()

    @property
    def part_rows(self) -> int:
        """Parameters in a part of a word."""
        return self.rows // self.word_parts

    @property
    def part_lanes(self) -> int:
        """Activations in a part of a word."""
        return self.lanes // self.word_parts

    @property
    def accumulator_width(self) -> int:
        """Bits of an accumulator: a product and twelve bits of headroom (4096 terms of any size);
        in a compact engine eight (256 terms)."""
        return 2 * self.width + (8 if self.compact else 12)

    @property
    def beat_width(self) -> int:
        """Bits of a beat of the input and output streams: a part of the widest word; in a compact
        engine 16.
        """
        if self.compact:
            return 16
        return max(self.part_lanes * self.width, self.part_rows * GRADIENT_BITS, 36)

    @property
    def geometry(self) -> str:
        """``rows x lanes``, as people say it."""
        return f"{self.rows}×{self.lanes}"

    def to_dict(self) -> dict[str, int]:
        """All parameters, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> EngineConfig:
        """The inverse of :meth:`to_dict`.

        :raises ValueError: on unknown parameters or values out of range.
        """
        known = set(cls.__dataclass_fields__)
        if unknown := sorted(set(values) - known):
            raise ValueError(f"unknown engine parameters: {', '.join(unknown)}")
        return cls(**values)

    def digest(self) -> str:
        """Eight hexadecimal digits that identify this configuration to a driver."""
        canonical = json.dumps(self.to_dict(), sort_keys=True)
        return hashlib.sha256(canonical.encode()).hexdigest()[:8]


PRESETS: dict[str, EngineConfig] = {
    "1x8": EngineConfig(rows=1, lanes=8, parameter_depth=8192),
    "2x16": EngineConfig(rows=2, lanes=16, parameter_depth=4096),
    "4x32": EngineConfig(rows=4, lanes=32),
    "4x16-deep": EngineConfig(rows=4, lanes=16, activation_depth=32768, parameter_depth=32768, program_depth=4096),
    "8x32-deep": EngineConfig(rows=8, lanes=32, activation_depth=32768, parameter_depth=16384, program_depth=4096),
    "1x8-compact": EngineConfig(
        rows=1,
        lanes=8,
        width=16,
        activation_depth=256,
        parameter_depth=768,
        program_depth=512,
        table_bits=6,
        activation_tables=0,
        wide_probes=0,
        local_learning=0,
        compact=1,
    ),
}
"""Named configurations that the command line offers; ``deep`` ones have more memory than small
boards, the ``compact`` one fits an iCE40 UltraPlus."""


def preset(name: str) -> EngineConfig:
    """The named configuration.

    :raises ValueError: naming the known ones, if there is none of that name.
    """
    try:
        return PRESETS[name]
    except KeyError:
        raise ValueError(f"unknown engine {name!r}; known: {', '.join(PRESETS)}") from None


def engine(name: str) -> EngineConfig:
    """The configuration that people call ``name``, for example ``engine("4x32")``.

    :param name: a preset's name; or ``ROWSxLANES`` with an ``x`` or ``×``; or ``ROWSxLANES@WORDS``,
        with the depth of the parameter memory, such as ``"8x32@8192"``.
    :raises ValueError: if it is none of these, or there is no engine of that size.
    """
    if name in PRESETS:
        return PRESETS[name]
    match = re.fullmatch(r"(\d+)[x×](\d+)(?:@(\d+))?", name)
    if match is None:
        raise ValueError(f"unknown engine {name!r}; known: {', '.join(PRESETS)}, or ROWSxLANES[@WORDS]")
    rows, lanes = int(match[1]), int(match[2])
    try:
        return EngineConfig(
            rows=rows,
            lanes=lanes,
            lanes_per_table=next(count for count in (4, 2, 1) if lanes % count == 0),
            parameter_depth=int(match[3]) if match[3] else max(2048, 8192 // max(rows, 1)),
        )
    except ValueError as error:
        raise ValueError(f"engine {name}: {error}") from None


def engine_name(config: EngineConfig) -> str:
    """What the command line calls a configuration: a preset's name, or ``ROWSxLANES@WORDS`` of
    parameter memory.
    """
    names = {known: name for name, known in PRESETS.items()}
    return names.get(config, f"{config.rows}x{config.lanes}@{config.parameter_depth}")
