"""Random faults in a component, and which of them its bench finds."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from dither.tools.cache import cached, digest
from dither.tools.sources import source_files
from tests.benches.mutation import SELECT, Flip, Mutable, flips, verdicts
from tests.benches.runner import compile_bench
from tests.cocotb.faults import Suite

from .equivalence import EQUIVALENT, decide

__all__ = ["FOUND", "Fate", "Score", "Target", "measure"]

FOUND = "found"
"""The bench failed."""


@dataclass(frozen=True)
class Fate:
    """What became of a fault."""

    fault: str
    """What it changes."""
    fate: str
    """:data:`FOUND`, or what the solver knows, see :mod:`tests.mutation.equivalence`."""
    how: str
    """What the bench said first."""


@dataclass(frozen=True)
class Score:
    """All fates of a component's faults."""

    component: str
    places: int
    """Number of faults that there are."""
    fates: tuple[Fate, ...]

    def count(self, fate: str) -> int:
        """Returns how many faults had this fate."""
        return sum(one.fate == fate for one in self.fates)

    @property
    def matter(self) -> int:
        """Number of faults that are not proved equivalent."""
        return len(self.fates) - self.count(EQUIVALENT)

    @property
    def share(self) -> float:
        """The share of those that matter that the bench finds."""
        return self.count(FOUND) / self.matter


@dataclass(frozen=True)
class Target:
    """A component, or a part of one, whose bench is measured."""

    suite: Suite
    part: str = "*"
    """Path of the submodules in which faults are, with ``*``; everywhere unless given."""
    besides: tuple[str, ...] = ()
    """Paths in it that have scores of their own, by benches of their own."""


_Status = Callable[[str], None]


def measure(
    name: str,
    target: Target,
    count: int,
    seed: int,
    on_status: _Status = lambda text: None,
    judge: Callable[[Callable[[], Any], Flip], str] = decide,
) -> Score:
    """Returns the score of a component's bench: runs it on random faults, and asks the solver about
    those that it does not find.

    Everything is kept under the digest of what it depends on, so that who was interrupted goes on.

    :param name: of the component.
    :param count: faults to try, at most.
    :param seed: which ones.
    :param on_status: called with what is going on.
    :param judge: says what is known of a fault that no bench has found.
    :raises BenchError: if the bench fails on the component as it is.
    """
    suite = target.suite
    every = flips(suite.component(), target.part, target.besides)
    chosen = sorted(Random(seed).sample(every, min(count, len(every))), key=lambda flip: flip.number)
    mutable = Mutable(suite.component(), chosen)
    on_status("running the bench")
    said = _verdicts(suite, mutable, f"mutants_{name.replace(' ', '_')}")
    fates = []
    for number, (flip, text) in enumerate(zip(chosen, said, strict=True), 1):
        if not text:
            on_status(f"fault {number} of {len(chosen)} lives: asking the solver")
        fates.append(Fate(mutable.places[flip], FOUND if text else judge(suite.component, flip), text))
    return Score(name, len(every), tuple(fates))


def _verdicts(suite: Suite, mutable: Mutable, name: str) -> list[str]:
    """Returns what the bench says of each fault, from the cache if it has run before."""
    binaries = compile_bench(mutable, name)
    modules = [SELECT, *suite.bench.split(",")]
    names = [module if "." in module else f"tests.benches.{module}" for module in modules]
    sources = {path for module in names for path in source_files(module, ("dither", "tests"))}
    key = digest(
        binaries.name,
        [path.read_text() for path in sorted(sources)],
        json.dumps(suite.parameters, default=lambda config: config.to_dict()),
    )

    def build(directory: Path) -> None:
        said = verdicts(binaries, len(mutable.mutations), suite.bench, name=name, parameters=suite.parameters)
        lines = [text.partition("\n")[0][-200:] for text in said]
        (directory / "said.json").write_text(json.dumps(lines))

    said: list[str] = json.loads((cached("mutants", key, build) / "said.json").read_text())
    return said
