"""Ways to break a component, for the tests of the tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from amaranth.hdl import Const, Module, Value
from amaranth.hdl._ast import Operator

from tests.benches.mutation import Change

__all__ = ["Suite", "always", "never", "only", "value"]


@dataclass(frozen=True)
class Suite:
    """A component, its bench and what is to be wrong with it."""

    component: Callable[[], Any]
    bench: str
    parameters: dict[str, Any]
    faults: tuple[Change, ...]


def value(make: Callable[[Value], Any]) -> Callable[[Value, Any, Module], Value]:
    """A fault that needs nothing but the right value."""
    return lambda old, component, m: make(old)


def only(kind: type | str, make: Callable[[Any], Any]) -> Callable[[Value, Any, Module], Value | None]:
    """A fault of those values alone that are of a class, or made by an operator."""

    def made(old: Value, component: Any, m: Module) -> Value | None:
        hit = isinstance(old, Operator) and old.operator == kind if isinstance(kind, str) else isinstance(old, kind)
        return make(old) if hit else None

    return made


def never(old: Value, component: Any, m: Module) -> Value:
    """It is zero."""
    return Const(0)


def always(old: Value, component: Any, m: Module) -> Value:
    """It is one."""
    return Const(1)
