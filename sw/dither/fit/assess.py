"""How much of an engine a program needs: each memory, each unit, and the cycles of a step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

from ..arch.config import EngineConfig
from ..arch.regmap import all_cycles, phase_cycles, utilisation
from ..compiler import Compiled, CompileError, ShortageError

__all__ = ["UNITS", "Assessment", "Use", "assess", "fitting"]

UNITS = {"local_learning": "local learning", "wide_probes": "wide probes"}
"""Options of an engine that a program needs or does not, by parameter, with their names."""
_TABLES = (1, 2, 4)
"""Numbers of activation tables that engines have."""


@dataclass(frozen=True, slots=True)
class Use:
    """How much of one thing a program needs, and how much of it an engine has."""

    what: str
    """Name of the memory or unit, for people."""
    parameter: str
    """Parameter of the engine that says how much there is."""
    needed: int
    """Words, tables or, for a unit, 0 or 1."""
    there: int
    """The same of what the engine has."""

    @property
    def fits(self) -> bool:
        """Whether there is enough."""
        return self.needed <= self.there


@dataclass(frozen=True)
class Assessment:
    """How a program goes with an engine."""

    engine: EngineConfig
    """The engine that was asked about."""
    uses: tuple[Use, ...]
    """What the program needs; only what is known, where :attr:`refusal` says that no engine of this
    kind could hold it."""
    refusal: str | None = None
    """Why it cannot be compiled, however large the engine's memories are; None if it can."""
    compiled: Compiled | None = None
    """The program for the engine, or for one as large as it has to be; None with a refusal."""

    @property
    def fits(self) -> bool:
        """Whether the engine can run it as it is."""
        return self.refusal is None and all(use.fits for use in self.uses)

    @property
    def step_cycles(self) -> int | None:
        """Exact cycles of a training step, waiting left out; None with a refusal."""
        if self.compiled is None:
            return None
        return all_cycles(self._counters)

    @property
    def utilisation(self) -> float | None:
        """Share of a step's cycles in which the multipliers work; None with a refusal."""
        return None if self.compiled is None else utilisation(self._counters, self.engine.rows)

    @property
    def shares(self) -> dict[str, float]:
        """Share of a step's cycles that each phase takes, largest first; none with a refusal."""
        if self.compiled is None:
            return {}
        cycles = phase_cycles(self._counters)
        total = sum(cycles.values())
        return {phase: count / total for phase, count in cycles.items()}

    @cached_property
    def _counters(self) -> dict[str, int]:
        """What a step counts, predicted once: the whole program is gone through for it."""
        assert self.compiled is not None
        return self.compiled.figures.step_counters()


def assess(compiles: Callable[[EngineConfig], Compiled], engine: EngineConfig) -> Assessment:
    """Finds out what a program needs of an engine, also where that has too little of it.

    It compiles for the engine; of what there is too little, the engine gets as much as the compiler
    says, until it compiles. Such words are the fewest with which it does.

    :param compiles: compiles the program for an engine.
    """
    trial, needed, names = engine, dict[str, int](), dict[str, str]()
    while True:
        try:
            compiled = compiles(trial)
        except ShortageError as short:
            needed[short.parameter], names[short.parameter] = short.needed, short.what
            try:
                trial = _larger(trial, short)
            except ValueError as error:
                refusal = None if short.parameter in UNITS else str(error)
                return Assessment(engine, _known(engine, needed, names), refusal or str(short))
        except (CompileError, ValueError) as error:
            return Assessment(engine, _known(engine, needed, names), str(error))
        else:
            return Assessment(engine, _uses(engine, compiled, needed), None, compiled)


def fitting(compiles: Callable[[EngineConfig], Compiled], engine: EngineConfig) -> Assessment | None:
    """Returns how a program goes with an engine that can run it as it is; None for any other.

    That is faster than :func:`assess`, for who does not ask what would be needed.
    """
    try:
        compiled = compiles(engine)
    except (CompileError, ValueError):
        return None
    found = Assessment(engine, _uses(engine, compiled, {}), None, compiled)
    return found if found.fits else None


def _larger(engine: EngineConfig, short: ShortageError) -> EngineConfig:
    """Returns the engine with as much as is needed of what it has too little of.

    :raises ValueError: if there are no such engines.
    """
    wanted = short.needed
    if short.parameter == "activation_tables":
        wanted = next((number for number in _TABLES if number >= wanted), wanted)
    return replace(engine, **{short.parameter: wanted})


def _known(engine: EngineConfig, needed: dict[str, int], names: dict[str, str]) -> tuple[Use, ...]:
    return tuple(Use(names[name], name, number, getattr(engine, name)) for name, number in needed.items())


def _uses(engine: EngineConfig, compiled: Compiled, needed: dict[str, int]) -> tuple[Use, ...]:
    """Returns what a compiled program takes of each memory, and of units that matter."""
    tensors = compiled.words + sum(tensor.words for tensor, _ in compiled.fixed)
    states = tensors + compiled.zeroed if compiled.zeroed else compiled.words
    words = [
        Use("activation memory", "activation_depth", compiled.memory.words, engine.activation_depth),
        Use("weight memory", "parameter_depth", compiled.parameter_words, engine.weight_depth),
        Use("masters, gradients, moments", "parameter_depth", states, engine.parameter_depth),
        Use("program memory", "program_depth", len(compiled.program), engine.program_depth),
    ]
    if compiled.activation_tables:
        tables = len(compiled.activation_tables)
        words.append(Use("activation tables", "activation_tables", tables, engine.activation_tables))
    words += [Use(UNITS[name], name, 1, getattr(engine, name)) for name in UNITS if name in needed]
    return tuple(words)
