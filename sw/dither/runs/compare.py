"""Comparison of two runs, bit by bit."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .curve import CurveRow, TensorRecord
from .folder import RunError, RunFolder

__all__ = ["Comparison", "Difference", "compare"]

_SETTINGS: dict[str, tuple[str, ...]] = {
    "task": (),
    "source": ("path",),
    "model": (),
    "numerics": ("loss_frac", "formats", "gradient_shifts"),
    "recipe": (),
    "phases": (),
    "log_every": (),
    "stencil": (),
    "initial": (),
    "engine": (),
}
"""Parts of a run's description that are settings, in the order in which they matter, and keys of
them that say nothing of their own."""


@dataclass(frozen=True, slots=True)
class Difference:
    """The first parameter that differs between two runs."""

    step: int
    """Optimiser step at which it differs first."""
    tensor: str
    """Name of the parameter's tensor."""
    index: tuple[int, ...]
    """Index of the parameter in its tensor."""
    raw: tuple[int, int]
    """Values in the two runs as the integers that the engine holds."""
    values: tuple[float, float]
    """Values in the two runs as real numbers."""
    differing: int
    """Number of parameters of all tensors that differ at this step."""

    def __str__(self) -> str:
        place = f"{self.tensor}[{', '.join(map(str, self.index))}]"
        return (
            f"first difference at step {self.step}, tensor {place}: {self.raw[0]} against {self.raw[1]} "
            f"({self.values[0]:.9g} against {self.values[1]:.9g}); {self.differing} parameters differ at this step"
        )


@dataclass(frozen=True, slots=True)
class Comparison:
    """Result of comparing two runs, which are identical if ``reason`` is None."""

    steps: int
    """Number of logged steps that both runs have."""
    parameters: int
    """Number of parameters compared at each of the steps."""
    reason: str | None = None
    """One line that says what differs first; None if nothing does."""
    difference: Difference | None = None
    """The parameter that differs first; None unless it is parameters that differ first."""
    settings: tuple[str, ...] = ()
    """What differs between the runs' settings, a few words each, such as ``seed 1 against 2``."""

    @property
    def identical(self) -> bool:
        """Whether nothing differs between the runs."""
        return self.reason is None


def compare(a: RunFolder, b: RunFolder) -> Comparison:
    """Compares logged steps, parameters, losses and metrics of two runs, without tolerance.

    What their settings differ in is found first, as it may be why the rest does.

    :raises RunError: if nothing can be compared: the runs are of different models, have no logged
        step in common, or have files that are missing or damaged.
    """
    _same_model(a, b)
    return replace(_compared(a, b), settings=_settings(a.description, b.description))


def _compared(a: RunFolder, b: RunFolder) -> Comparison:
    (curve_a, history_a), (curve_b, history_b) = a.logged(), b.logged()
    at_a, at_b = ({row.step: i for i, row in enumerate(curve)} for curve in (curve_a, curve_b))
    common = sorted(set(at_a) & set(at_b))
    if not common:
        raise RunError(f"{a.path} and {b.path} have no logged step in common; train both with the same --log-every")

    for mine, theirs in zip(a.tensors, b.tensors, strict=True):
        if mine.frac != theirs.frac:
            formats = f"{mine.frac} fraction bits against {theirs.frac}"
            return Comparison(len(common), a.parameters, f"tensor {mine.name} has {formats}: the runs' numerics differ")
    for step in common:
        i, j = at_a[step], at_b[step]
        if difference := _difference(step, a.tensors, history_a[i], history_b[j]):
            return Comparison(len(common), a.parameters, str(difference), difference)
        if what := _rows_differ(curve_a[i], curve_b[j], a.metric.name):
            return Comparison(len(common), a.parameters, what)
    if only := sorted(set(at_a) ^ set(at_b)):
        have, lack = (a, b) if only[0] in at_a else (b, a)
        where = f"step {only[0]} is logged in {have.path} only, not in {lack.path}"
        return Comparison(len(common), a.parameters, f"{where}; all {len(common)} common steps agree")
    return Comparison(len(common), a.parameters)


def _settings(a: Mapping[str, Any], b: Mapping[str, Any]) -> tuple[str, ...]:
    """Returns what differs between two runs' settings, what decides the bits first."""
    found = []
    for name, without in _SETTINGS.items():
        mine, theirs = _inner(a, name), _inner(b, name)
        if name == "engine":
            found += [_engines(mine, theirs)] if mine != theirs and mine and theirs else []
        elif isinstance(mine, dict) and isinstance(theirs, dict):
            for key in dict.fromkeys((*mine, *theirs)):
                if key not in without and mine.get(key) != theirs.get(key):
                    found.append(f"{key} {_said(mine.get(key))} against {_said(theirs.get(key))}")
        elif mine != theirs:
            plain = not isinstance(mine, (dict, list)) and not isinstance(theirs, (dict, list))
            found.append(f"{name} {_said(mine)} against {_said(theirs)}" if plain else name)
    return tuple(dict.fromkeys(found))


def _engines(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> str:
    """Returns how two engines differ: in rows and lanes, or else in what they differ in."""
    sizes = [f"{each.get('rows')}×{each.get('lanes')}" for each in (mine, theirs)]
    if sizes[0] != sizes[1]:
        return f"engine {sizes[0]} against {sizes[1]}"
    return f"engine's {', '.join(key for key in mine if mine[key] != theirs.get(key))}"


def _inner(values: Mapping[str, Any], name: str) -> Any:
    found = values.get(name)
    # A model is one setting: its layers say nothing one by one.
    return [found] if name == "model" else found


def _said(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _difference(
    step: int, tensors: list[TensorRecord], a: NDArray[np.int32], b: NDArray[np.int32]
) -> Difference | None:
    """Returns the first difference of two history records, if there is one."""
    unequal = np.flatnonzero(a != b)
    if not len(unequal):
        return None
    position = int(unequal[0])
    tensor, index = _locate(tensors, position)
    raw = (int(a[position]), int(b[position]))
    values = (math.ldexp(raw[0], -tensor.frac), math.ldexp(raw[1], -tensor.frac))
    return Difference(step, tensor.name, index, raw, values, len(unequal))


def _same_model(a: RunFolder, b: RunFolder) -> None:
    if a.metric != b.metric:
        raise RunError(f"the runs are of different kinds: one measures {a.metric.title}, the other {b.metric.title}")
    for number, (mine, theirs) in enumerate(zip(a.tensors, b.tensors, strict=False)):
        if (mine.name, mine.shape) != (theirs.name, theirs.shape):
            raise RunError(
                f"the runs train different models: tensor {number} is {mine.name} {mine.shape} "
                f"in {a.path}, {theirs.name} {theirs.shape} in {b.path}"
            )
    if len(a.tensors) != len(b.tensors):
        raise RunError(f"the runs train different models: {len(a.tensors)} against {len(b.tensors)} tensors")


def _locate(tensors: list[TensorRecord], position: int) -> tuple[TensorRecord, tuple[int, ...]]:
    """Returns the tensor, and the index in it, of a position in a history record."""
    for tensor in tensors:
        if position < tensor.size:
            return tensor, tuple(int(i) for i in np.unravel_index(position, tensor.shape))
        position -= tensor.size
    raise IndexError(position)


def _rows_differ(a: CurveRow, b: CurveRow, metric: str) -> str | None:
    """Returns what differs in two lines of equal parameters; NaN equals NaN."""
    for name in ("forwards", "macs", "train_loss", "loss", "metric"):
        mine, theirs = getattr(a, name), getattr(b, name)
        if repr(mine) != repr(theirs):
            name = metric if name == "metric" else name
            return f"first difference at step {a.step}: {name} is {mine!r} against {theirs!r}, all parameters agree"
    return None
