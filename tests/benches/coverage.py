"""Which states of the machine tests have met: points that derive from the table of instructions.

A *point* is a class of values of one field, or a combination of all of an instruction's choices
(fields that name a member of an enumeration, and flags), or an instruction that uses a stream
under a pattern of pauses. Whoever runs an instruction tells :func:`meet`; with
``DITHER_COVERAGE`` naming a folder, each process leaves a file there with the points that it met,
and :func:`merge` puts all of them together.
"""

from __future__ import annotations

import functools
import itertools
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from dither.arch.isa import INSTRUCTIONS, Instruction, vocabulary
from dither.arch.isa.formats import Field, InstructionFormat

from .beats import PATTERNS

__all__ = ["FOLDER", "PROGRAMS", "UNITS", "meet", "merge", "points"]

FOLDER = "DITHER_COVERAGE"
"""Environment variable with the folder that points are written to."""
UNITS, PROGRAMS = "units", "programs"
"""Where an instruction was met: in the bench of its unit alone, or in whole programs."""

_ENUMERATION = re.compile(r"see (\w+)")
_STREAMS = {
    "LOAD": PATTERNS,
    "PULL": PATTERNS,
    "STORE": (*PATTERNS, "reluctant"),
    "EMIT": (*PATTERNS, "reluctant"),
}
"""Patterns of pauses under which an instruction must be met."""
_Class = Callable[[int], bool]


def _choices(field: Field) -> dict[str, _Class] | None:
    """Returns the values of a field that names something, by their names; None for numbers."""
    if match := _ENUMERATION.match(field.doc):
        members = getattr(vocabulary, match[1])
        return {member.name: functools.partial(int.__eq__, member.value) for member in members}
    if field.width == 1:
        return {"0": lambda value: not value, "1": bool}
    return None


def _classes(field: Field) -> dict[str, _Class]:
    """Returns classes of a field's values that behave differently, by name."""
    if (choices := _choices(field)) is not None:
        return choices
    if field.source or field.target:
        return {"register 0": lambda value: not value, "another register": bool}
    if field.signed:
        return {
            "negative": lambda value: value < 0,
            "zero": lambda value: not value,
            "positive": lambda value: value > 0,
        }
    if "at least 1" in field.doc or "1 to R" in field.doc:
        return {"one": lambda value: value == 1, "more": lambda value: value > 1}
    return {"zero": lambda value: not value, "more": bool}


def _chosen(form: InstructionFormat) -> dict[str, dict[str, _Class]]:
    found = {field.name: _choices(field) for field in form.fields}
    return {name: choices for name, choices in found.items() if choices is not None}


def _combination(fields: Iterable[str], names: Iterable[str]) -> str:
    return ", ".join(f"{field} {name}" for field, name in zip(fields, names, strict=True))


def _name(choices: Mapping[str, _Class], value: int) -> str:
    return next(name for name, holds in choices.items() if holds(value))


def points() -> dict[str, list[str]]:
    """Returns all points by instruction, in the table's order."""
    found: dict[str, list[str]] = {}
    for form in INSTRUCTIONS:
        own = [f"{field.name} {name}" for field in form.fields for name in _classes(field)]
        chosen = _chosen(form)
        if len(chosen) > 1:
            own += [_combination(chosen, names) for names in itertools.product(*chosen.values())]
        own += [f"stream {pattern}" for pattern in _STREAMS.get(form.name, ())]
        found[form.name] = own or ["executed"]
    return found


def _met(instruction: Instruction, patterns: Iterable[str]) -> Iterator[str]:
    form = instruction.format
    if not form.fields:
        yield "executed"
    for field in form.fields:
        value = instruction[field.name]
        yield from (f"{field.name} {name}" for name, holds in _classes(field).items() if holds(value))
    chosen = _chosen(form)
    if len(chosen) > 1:
        names = [_name(choices, instruction[key]) for key, choices in chosen.items()]
        yield _combination(chosen, names)
    if form.name in _STREAMS:
        yield from (f"stream {pattern}" for pattern in patterns)


_seen: set[str] = set()


def meet(where: str, instruction: Instruction, patterns: Mapping[str, str] | None = None) -> None:
    """Notes that an instruction was executed.

    :param where: :data:`UNITS` or :data:`PROGRAMS`.
    :param patterns: patterns of pauses of the streams ``input`` and ``output``, where known.
    """
    folder = os.environ.get(FOLDER)
    if not folder:
        return
    stream = "input" if instruction.name in ("LOAD", "PULL") else "output"
    pattern = (patterns or {}).get(stream)
    lines = {f"{where}\t{instruction.name}\t{point}" for point in _met(instruction, [pattern] if pattern else [])}
    if new := lines - _seen:
        _seen.update(new)
        # Simulators end without saying so: a point is on the disk as soon as it is met.
        with (Path(folder) / f"{os.getpid()}.points").open("a") as file:
            file.write("".join(f"{line}\n" for line in sorted(new)))


def merge(folder: Path) -> dict[str, set[tuple[str, str]]]:
    """Returns the pairs of instruction and point that all processes together have met.

    :param folder: what :data:`FOLDER` named.
    :returns: by :data:`UNITS` and :data:`PROGRAMS`.
    """
    found: dict[str, set[tuple[str, str]]] = {UNITS: set(), PROGRAMS: set()}
    for path in sorted(folder.glob("*.points")):
        for line in path.read_text().splitlines():
            where, name, point = line.split("\t")
            found[where].add((name, point))
    return found
