"""Phases: a training run that changes its recipe on the way, such as random directions first,
coordinates later.

A phase begins with the parameters of the one before, with moments of zero, and with a schedule of
its own; probe numbers go on, so that no probe of one phase comes again in another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .recipe import Recipe

__all__ = ["Phase", "Plateau", "parse_phase", "parse_phases", "phase_text"]

FIXED = ("batch", "tile", "seed", "hidden_headroom")
"""Fields of the recipe that no phase may change: data, lanes and number formats depend on them."""


@dataclass(frozen=True, slots=True)
class Phase:
    """A recipe and when it ends; the last phase of a run ends with the run.

    :raises ValueError: if both ends are given, or one that is not positive.
    """

    recipe: Recipe
    steps: int | None = None
    """Ends after so many steps of its own."""
    plateau: int | None = None
    """Ends when so many evaluations in a row did not bring the training loss to a new low."""

    def __post_init__(self) -> None:
        if self.steps is not None and self.plateau is not None:
            raise ValueError("a phase ends after a number of steps or on a plateau, not both")
        for name in ("steps", "plateau"):
            value = getattr(self, name)
            if value is not None and not (type(value) is int and value >= 1):
                raise ValueError(f"a phase's {name} must be a positive integer, not {value!r}")

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return {"recipe": self.recipe.to_dict(), "steps": self.steps, "plateau": self.plateau}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Phase:
        """The inverse of :meth:`to_dict`.

        :raises ValueError: on anything else.
        """
        return cls(Recipe.from_dict(values["recipe"]), values.get("steps"), values.get("plateau"))


@dataclass(slots=True)
class Plateau:
    """Watches the training loss of a phase.

    A new low is one that is :data:`NEW_LOW` below the lowest so far: less is noise.
    """

    best: float = float("inf")
    stale: int = 0
    """Evaluations since the last new low."""
    NEW_LOW = 0.005

    def see(self, loss: float) -> None:
        """Takes the training loss of the steps since the last evaluation."""
        if loss < self.best * (1 - Plateau.NEW_LOW):
            self.best, self.stale = loss, 0
        else:
            self.stale += 1


def parse_phase(text: str, before: Recipe) -> tuple[dict[str, int], Recipe]:
    """``"after=400,estimator=coordinate,rate=0.001"``: when the phase before ends, and the recipe
    then.

    :param text: ``after=STEPS`` or ``after=plateau:EVALUATIONS``, and fields of the recipe that
        change.
    :param before: the recipe of the phase before.
    :returns: the end of the phase before, as fields of :class:`Phase`; the new recipe.
    :raises ValueError: saying what is wrong.
    """
    fields: dict[str, str] = {}
    for item in text.split(","):
        name, equals, value = item.partition("=")
        if not equals:
            raise ValueError(f"{item!r} is no NAME=VALUE; a phase is such as after=400,estimator=coordinate")
        fields[name.strip().replace("-", "_")] = value.strip()
    after = fields.pop("after", "")
    kind, _, number = after.partition(":")
    try:
        end = {"plateau": int(number or 5)} if kind == "plateau" else {"steps": int(after)}
    except ValueError:
        message = f"after={after} says no end of a phase; give after=STEPS or after=plateau:EVALUATIONS"
        raise ValueError(message) from None
    values = before.to_dict()
    for name, value in fields.items():
        if name not in values:
            raise ValueError(f"the recipe has no field {name!r}")
        if name in FIXED:
            raise ValueError(f"{name} must be the same in all phases")
        values[name] = _parsed(value)
    return end, Recipe.from_dict(values)


def _parsed(text: str) -> Any:
    if ":" in text:
        return tuple(_parsed(part) for part in text.split(":"))
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return {"true": True, "false": False}.get(text, text)


def parse_phases(first: Recipe, texts: Sequence[str]) -> tuple[Phase, ...]:
    """All phases of a run that begins with a recipe and changes it as the texts say; none if there
    are no texts.

    :raises ValueError: saying what is wrong.
    """
    phases: list[Phase] = []
    recipe = first
    for text in texts:
        end, changed = parse_phase(text, recipe)
        phases.append(Phase(recipe, **end))
        recipe = changed
    return (*phases, Phase(recipe)) if phases else ()


def phase_text(before: Phase, phase: Phase) -> str:
    """What :func:`parse_phase` would take to make ``phase`` out of the one before."""
    items = [f"after={before.steps}" if before.plateau is None else f"after=plateau:{before.plateau}"]
    old = before.recipe.to_dict()
    for name, value in phase.recipe.to_dict().items():
        if value != old[name]:
            many = isinstance(value, (tuple, list))
            items.append(f"{name}={':'.join(map(str, value)) if many else str(value).lower()}")
    return ",".join(items)
