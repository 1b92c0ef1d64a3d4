"""The engine's configuration: every parameter that gateware, golden machine and compiler share."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from typing import Any

from .family import COMPACT, FULL, Family
from .isa import GRADIENT_BITS

__all__ = ["ARITHMETIC", "PRESETS", "EngineConfig", "engine", "engine_name", "preset"]

ARITHMETIC = 2
"""Version of the arithmetic: it goes up when a program gives other bits than before, so that
drivers refuse engines, and runs refuse checkpoints, of another one."""
_ROWS = (1, 2, 4, 8)
_WIDTHS = (16, 18)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineConfig:
    """Geometry, number formats and options of one engine.

    ``rows``, ``lanes``, the depths and ``word_parts`` are *geometry*: they change speed and
    capacity, never results. ``width`` and ``table_bits`` are *numerics*: two engines give the same
    bits only if they agree on them.

    :raises ValueError: if a value is out of range or two of them exclude each other; the message
        names them.
    """

    rows: int = 4
    """Number of outputs computed at once, R: 1, 2, 4 or 8. A weight word holds R weights."""
    lanes: int = 32
    """Number of samples computed at once, L: 1 to 4096, at most 64 in gateware.

    An activation word holds L activations.
    """
    width: int = 18
    """Bits of an activation and of a working weight, W: 16 or 18."""
    activation_depth: int = 4096
    """Number of words of the activation memory, each of L x W bits: 16 to 32768."""
    parameter_depth: int = 2048
    """Number of words of the master, gradient and moment memories: 16 to 32768.

    The weight memory has as many, but 1,024 at least, unless the engine is compact.

    With ``word_parts``, at most 65536 / ``word_parts``.
    """
    program_depth: int = 4096
    """Number of 32-bit words of the program memory: 16 to 32768."""
    table_bits: int = 9
    """Binary logarithm of the number of segments of every piecewise-linear table: 6 to 10."""
    activation_tables: int = 2
    """Number of activation-function tables in CONTRACT's drain: 0 (ReLU only), 1, 2 or 4."""
    lanes_per_table: int = 4
    """Number of lanes that share one table interpolator in the drain; it divides ``lanes``.

    An output row that goes through a table occupies the drain for ``lanes_per_table`` cycles.
    """
    rounds_per_cycle: int = 1
    """Number of rounds that the perturbation generator computes in a cycle: 1, 2 or 4."""

    word_parts: int = 1
    """Time-multiplexing factor of words: 1, or a common divisor of ``rows`` and ``lanes``.

    Beats of the streams and the memories of masters, gradients and moments are 1/``word_parts`` as
    wide; LOAD, STORE, PERTURB, ACCUMULATE and UPDATE handle one part of a word after the other.
    With ``local_learning``, the gradient memory alone keeps whole words, because CORRELATE adds to
    all rows at once.
    """

    wide_probes: int = 1
    """Option, 0 or 1: with 1, probes may be uniform or Gaussian-like.

    With 0, only Rademacher probes and single coordinates.
    """
    local_learning: int = 1
    """Option, 0 or 1: with 1, the engine has what local learning needs.

    That is CORRELATE, DITHER, TRANSPOSE, lane-wise operands and per-sample losses.
    """
    compact: int = 0
    """Option, 0 or 1: with 1, the smallest engine, with the same results in more cycles.

    It has one row, sequential units, and memories that suit an iCE40 UltraPlus.
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
        family = self.family
        for name, value in family.fixed.items():
            require(getattr(self, name) == value, f"{name} of a {family.name} engine must be {value}")
        for name, most in family.limits.items():
            require(getattr(self, name) <= most, f"{name} of a {family.name} engine must be at most {most}")

    @property
    def family(self) -> Family:
        """The family of engines that this one belongs to."""
        return COMPACT if self.compact else FULL

    @property
    def multipliers(self) -> int:
        """Number of multiply-accumulates per cycle, R x L."""
        return self.rows * self.lanes

    @property
    def weight_depth(self) -> int:
        """Number of words of the weight memory.

        Where there are few parameters, weights in other orders have room beside them.
        """
        return max(self.parameter_depth, self.family.least_weights)

    @property
    def part_bits(self) -> int:
        """Number of address bits that select a part of a word."""
        return (self.word_parts - 1).bit_length()

    @property
    def part_rows(self) -> int:
        """Number of parameters in one part of a word, ``rows / word_parts``."""
        return self.rows // self.word_parts

    @property
    def part_lanes(self) -> int:
        """Number of activations in one part of a word, ``lanes / word_parts``."""
        return self.lanes // self.word_parts

    @property
    def accumulator_width(self) -> int:
        """Bits of one accumulator of CONTRACT.

        A product has 2 W bits; the family's headroom allows for so many terms of any size: 4096,
        or 256 in a compact engine.
        """
        return 2 * self.width + self.family.headroom

    @property
    def beat_width(self) -> int:
        """Bits of one beat of the input and output streams.

        A beat is as wide as one part of the widest word; in a compact engine it has 16 bits.
        """
        widest = max(self.part_lanes * self.width, self.part_rows * GRADIENT_BITS, 36)
        return self.family.beat_bits or widest

    @property
    def geometry(self) -> str:
        """Rows and lanes for people to read, such as ``4×32``."""
        return f"{self.rows}×{self.lanes}"

    def to_dict(self) -> dict[str, int]:
        """Returns all parameters by name, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> EngineConfig:
        """Makes a configuration from a dictionary such as :meth:`to_dict` returns.

        Missing parameters have their defaults.

        :raises ValueError: on unknown parameters or values out of range.
        """
        known = set(cls.__dataclass_fields__)
        if unknown := sorted(set(values) - known):
            raise ValueError(f"unknown engine parameters: {', '.join(unknown)}")
        return cls(**values)

    @property
    def canonical(self) -> str:
        """Text of all parameters and :data:`ARITHMETIC`, as JSON with sorted keys.

        A weight memory of more words than the others is named, too: bitstreams from before there
        were such have fewer.
        """
        more = {} if self.weight_depth == self.parameter_depth else {"weight_depth": self.weight_depth}
        return json.dumps(self.to_dict() | more | {"arithmetic": ARITHMETIC}, sort_keys=True)

    def digest(self) -> str:
        """Returns eight hexadecimal digits by which a driver recognises this configuration.

        They are the beginning of the SHA-256 of :attr:`canonical`.
        """
        return hashlib.sha256(self.canonical.encode()).hexdigest()[:8]


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
"""Named configurations that the command line offers.

The ``deep`` ones have more memory than small boards; the ``compact`` one fits an iCE40 UltraPlus.
"""


def preset(name: str) -> EngineConfig:
    """Returns the named configuration of :data:`PRESETS`.

    :raises ValueError: if there is none of that name; the message lists the known ones.
    """
    try:
        return PRESETS[name]
    except KeyError:
        raise ValueError(f"unknown engine {name!r}; known: {', '.join(PRESETS)}") from None


def engine(name: str) -> EngineConfig:
    """Returns the configuration that people call ``name``, for example ``engine("4x32")``.

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
    """Returns the name by which the command line calls a configuration.

    That is a preset's name or, for any other, ``ROWSxLANES@WORDS`` with the words of parameter
    memory; such a name does not tell the other parameters.
    """
    names = {known: name for name, known in PRESETS.items()}
    return names.get(config, f"{config.rows}x{config.lanes}@{config.parameter_depth}")
