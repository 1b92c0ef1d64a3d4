"""Deliberately broken components: a test of the tests.

A :class:`Mutable` is a component with an extra input ``mutation``: 0 leaves it as it is, *n* gives
it its *n*-th fault. All faults are in one design (a *mutant schema*, R. H. Untch, A. J. Offutt, M.
J. Harrold: *Mutation analysis using mutant schemata*, ISSTA 1993), so that each component is
compiled once. A good bench fails on every one of them.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Protocol

from amaranth.hdl import Cat, Const, Fragment, Module, Mux, Signal, Value

# Amaranth keeps its statements' classes to itself; nothing else can tell an assignment from a
# switch.
from amaranth.hdl._ast import Assign, Concat, Operator, Part, Slice, Statement, Switch, SwitchValue
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from .runner import BenchError, compile_bench, failures, log_end, simulate

__all__ = ["SELECT", "Change", "Flip", "Mutable", "Mutation", "Place", "flips", "survivors", "verdicts"]

SELECT = "select_mutation"
"""Bench that tries the faults; it stands before the bench proper."""
_AROUND = 24
"""Characters around a difference that are told."""
_AID = "clash"
"""How names of signals begin that stand, in simulations alone, for what is unknown on a chip. They
are no part of a component, and have no flips.
"""
_OPPOSITES = {
    "+": "-",
    "-": "+",
    "&": "|",
    "|": "&",
    "^": "|",
    "==": "!=",
    "!=": "==",
    "<": "<=",
    "<=": "<",
    ">": ">=",
    ">=": ">",
    "<<": ">>",
    ">>": "<<",
}


@dataclass(frozen=True)
class Place:
    """Where a value of a component is used."""

    names: tuple[str, ...]
    """What it is assigned to, ``submodule.submodule.signal``, a name a signal; empty for the test
    of a branch.
    """
    first: int
    """Flips of all places before this one."""
    flips: int
    """Its own."""
    path: str
    """The submodules above it, each with a dot behind it."""


class Mutation(Protocol):
    """One fault."""

    name: str

    def change(self, place: Place, value: Value, component: Any, m: Module) -> Value | None:
        """What stands in the place of ``value``, or ``None`` to leave it alone. ``m`` takes
        auxiliary logic.
        """


@dataclass(frozen=True)
class Change:
    """A named fault: what is assigned to signals that match ``target`` (with ``*``) is replaced."""

    name: str
    target: str
    make: Callable[[Value, Any, Module], Any]
    """The faulty value from the right one, the component and a module for auxiliary logic; ``None``
    to leave it.
    """

    def change(self, place: Place, value: Value, component: Any, m: Module) -> Value | None:
        if not any(fnmatchcase(name, self.target) for name in place.names):
            return None
        faulty = self.make(value, component, m)
        return None if faulty is None else Value.cast(faulty)


@dataclass(frozen=True)
class Flip:
    """An anonymous fault: the component's ``number``-th operator, constant, multiplexer or end of a
    signal is another.
    """

    number: int

    @property
    def name(self) -> str:
        return f"flip {self.number}"

    def change(self, place: Place, value: Value, component: Any, m: Module) -> Value | None:
        if not place.first <= self.number < place.first + place.flips:
            return None
        return next((flipped for i, flipped in enumerate(_flipped(value), place.first) if i == self.number), None)


class Mutable(wiring.Component):
    """A component that can be broken: its ports, and ``mutation``, which chooses the fault (0:
    none).

    :param component: not yet elaborated, and of no other use afterwards.
    :param mutations: the faults, numbered from 1.
    """

    def __init__(self, component: Any, mutations: Sequence[Mutation]) -> None:
        self.component = component
        self.mutations = tuple(mutations)
        self.places: dict[Mutation, str] = {}
        """What each fault changes; known, like :attr:`flips`, after elaboration."""
        self.flips: list[str] = []
        """The path of the place of each flip that there is."""
        members = component.signature.members
        super().__init__({**members, "mutation": In(range(len(self.mutations) + 1))})
        for name in members:
            setattr(self, name, getattr(component, name))

    def elaborate(self, platform: object) -> Fragment:
        """:raises ValueError: if a fault has no place in the component."""
        m = Module()
        inner = Fragment.get(self.component, platform)
        rewriter = _Rewriter(self, m)
        rewriter.rewrite(inner, "")
        self.flips = rewriter.flips
        outer = Fragment.get(m, platform)
        if idle := [mutation.name for mutation in self.mutations if mutation not in self.places]:
            raise ValueError(f"no place in {type(self.component).__name__} for: {', '.join(idle)}")
        outer.add_subfragment(inner, "component")
        return outer


class _Rewriter:
    """Goes through a component's assignments and branches, always in the same order."""

    def __init__(self, mutable: Mutable, m: Module) -> None:
        self._mutable = mutable
        self._m = m
        self.flips: list[str] = []

    def rewrite(self, fragment: Fragment, path: str) -> None:
        for domain, statements in fragment.statements.items():
            fragment.statements[domain] = Statement.cast([*self._statements(statements, path)])
        for number, (child, name, _) in enumerate(fragment.subfragments):
            self.rewrite(child, f"{path}{name or number}.")

    def _statements(self, statements: Iterable[Any], path: str) -> Iterator[Any]:
        for statement in statements:
            match statement:
                case Assign() if not any(signal.name for signal in statement.lhs._lhs_signals()):
                    # Amaranth makes a flag without a name for every state of a machine; hardly
                    # anybody asks for it.
                    yield statement
                case Assign():
                    names = tuple(f"{path}{signal.name}" for signal in statement.lhs._lhs_signals())
                    yield statement.lhs.eq(self._value(statement.rhs, names, path))
                case Switch():
                    test = self._value(statement.test, (), path)
                    cases = [
                        (patterns, [*self._statements(body, path)], place) for patterns, body, place in statement.cases
                    ]
                    yield Switch(test, cases, src_loc=statement.src_loc)
                case _:
                    yield statement

    def _value(self, value: Value, names: tuple[str, ...], path: str) -> Value:
        used = [*(name.rpartition(".")[2] for name in names), *(signal.name for signal in value._rhs_signals())]
        aid = any(name.startswith(_AID) for name in used)
        count = 0 if aid else sum(1 for _ in _flipped(value))
        place, result = Place(names, len(self.flips), count, path), value
        self.flips += [path] * count
        for number, mutation in enumerate(self._mutable.mutations, 1):
            changed = mutation.change(place, value, self._mutable.component, self._m)
            if changed is not None:
                self._mutable.places[mutation] = (
                    f"{', '.join(names) or f'{path}branch test'}: {_difference(value, changed)}"
                )
                result = Mux(self._mutable.mutation == number, changed, result)
        return result if names else _like(result, value)


def _common(one: str, other: str) -> int:
    """How many characters two texts have in common at their beginnings."""
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _difference(old: Value, new: Value) -> str:
    """Where two values differ, with little around it."""
    before, after = repr(old), repr(new)
    start = max(0, _common(before, after) - _AROUND)
    end = max(0, _common(before[start:][::-1], after[start:][::-1]) - _AROUND)
    texts = (f"{'…' * (start > 0)}{text[start : len(text) - end]}{'…' * (end > 0)}" for text in (before, after))
    return " -> ".join(texts)


def _like(value: Value, model: Value) -> Value:
    """A value cut or extended to the width and sign of another."""
    shape, missing = model.shape(), len(model) - len(value)
    if missing > 0:
        fill = value[-1] if value.shape().signed and len(value) else Const(0, 1)
        value = Cat(value, fill.replicate(missing))
    value = value[: shape.width]
    return value.as_signed() if shape.signed else value


def _simple(value: Value) -> Value:
    """The same value without slices of slices and of concatenations, of which most is cut off."""
    if not isinstance(value, Slice):
        return value
    inner, start, stop = _simple(value.value), value.start, value.stop
    match inner:
        case Slice():
            return inner.value[inner.start + start : inner.start + stop]
        case Concat():
            parts, place = [], 0
            for part in inner.parts:
                low, high = max(start - place, 0), min(stop - place, len(part))
                if low < high:
                    parts.append(_simple(part[low:high]) if high - low < len(part) else part)
                place += len(part)
            return Cat(*parts)
    return value


def _flipped(value: Value) -> Iterator[Value]:
    """The value with one of its operators, constants, signals' ends or multiplexers changed, for
    each of them.
    """
    value = _simple(value)
    match value:
        case Const() if len(value):
            yield Const(value.value ^ 1, value.shape())
        case Signal() | Slice(value=Signal()) if len(value):
            for bit in sorted({0, len(value) - 1}):
                yield _like(value ^ (1 << bit), value)
        case Operator():
            if value.operator == "~":
                yield value.operands[0]
            elif len(value.operands) == 2 and value.operator in _OPPOSITES:
                left, right = value.operands
                yield _like(Operator(_OPPOSITES[value.operator], [left, right]), value)
            for i, operand in enumerate(value.operands):
                for flipped in _flipped(operand):
                    operands = [*value.operands]
                    operands[i] = _like(flipped, operand)
                    yield Operator(value.operator, operands)
        case Slice():
            for flipped in _flipped(value.value):
                yield _like(flipped, value.value)[value.start : value.stop]
        case Part():
            for flipped in _flipped(value.value):
                yield Part(_like(flipped, value.value), value.offset, value.width, value.stride)
            for flipped in _flipped(value.offset):
                yield Part(value.value, _like(flipped, value.offset), value.width, value.stride)
        case Concat() if len(value.parts) > 1 and all(part is value.parts[0] for part in value.parts):
            # A bit that is repeated is one place.
            for flipped in _flipped(value.parts[0]):
                yield _like(flipped, value.parts[0]).replicate(len(value.parts))
        case Concat():
            for i, part in enumerate(value.parts):
                for flipped in _flipped(part):
                    yield Cat(*value.parts[:i], _like(flipped, part), *value.parts[i + 1 :])
        case SwitchValue():
            cases = [*value.cases]
            for flipped in _flipped(value.test):
                yield SwitchValue(_like(flipped, value.test), cases)
            if len(cases) > 1:
                patterns, values = zip(*cases, strict=True)
                yield SwitchValue(value.test, [*zip(patterns, values[1:] + values[:1], strict=True)])
            for i, (pattern, result) in enumerate(cases):
                for flipped in _flipped(result):
                    yield SwitchValue(value.test, [*cases[:i], (pattern, _like(flipped, result)), *cases[i + 1 :]])


def flips(component: Any, part: str = "*", besides: Sequence[str] = ()) -> list[Flip]:
    """All flips that a component has; ``component`` is of no other use afterwards.

    :param part: path of the submodules in which they are, ``submodule.submodule.``, with ``*``.
    :param besides: paths in it that are left out.
    """
    mutable = Mutable(component, [])
    Fragment.get(mutable, None)
    return [
        Flip(number)
        for number, path in enumerate(mutable.flips)
        if fnmatchcase(path, part) and not any(fnmatchcase(path, other) for other in besides)
    ]


def verdicts(
    binaries: Path, count: int, bench_module: str, *, name: str, parameters: Mapping[str, Any], timeout: float = 3600.0
) -> list[str]:
    """Runs a bench on a component with each of its faults: returns what it says of each, nothing
    of those that it does not find.

    A bench that takes much longer than on the component as it is has found the fault.

    :param binaries: the compiled :class:`Mutable`.
    :param count: number of faults.
    :param timeout: bounds all runs together, in seconds of real time.
    :raises BenchError: if the bench fails on the component as it is, or the time is up.
    """
    with tempfile.TemporaryDirectory(prefix="mutants-") as scratch:
        place = Path(scratch)
        timed_out = simulate(
            binaries,
            [SELECT, *bench_module.split(",")],
            place,
            name=name,
            parameters={**parameters, "mutations": count},
            timeout=timeout,
        )
        said = [failures(place / f"{number}.xml") for number in range(count + 1)]
        if timed_out or said[0]:
            trouble = f"all faults took longer than {timeout:g} s" if timed_out else "\n".join(said[0])
            raise BenchError(f"{bench_module} on {name}: {trouble}\n{log_end(place)}")
    return ["\n".join(texts) for texts in said[1:]]


def survivors(
    component: Callable[[], Any],
    mutations: Sequence[Mutation],
    bench_module: str,
    *,
    name: str,
    parameters: Mapping[str, Any],
) -> list[str]:
    """Returns the faults that a bench does not find, see :func:`verdicts`.

    :param component: makes the component.
    """
    mutable = Mutable(component(), mutations)
    said = verdicts(compile_bench(mutable, name), len(mutations), bench_module, name=name, parameters=parameters)
    return [
        f"{mutation.name}: {mutable.places[mutation]}"
        for mutation, text in zip(mutations, said, strict=True)
        if not text
    ]
