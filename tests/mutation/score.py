"""Random faults in a component, and which of them its bench finds."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from dither.tools.cache import cached, digest
from dither.tools.sources import source_files
from tests.benches.mutation import SELECT, Flip, Mutable, flips
from tests.benches.runner import BenchError, compile_bench, run_compiled
from tests.cocotb.faults import Suite

from .equivalence import EQUIVALENT, decide

__all__ = ["FOUND", "Fate", "Score", "Target", "measure"]

FOUND = "found"
"""The bench failed."""
_PATIENCE = 5.0
"""How many times as long as on the component as it is a bench may take."""
_LEAST = 20.0
_LONGEST = 600.0
"""Seconds that a bench may take."""


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
    every = flips(suite.component(), target.part)
    chosen = sorted(Random(seed).sample(every, min(count, len(every))), key=lambda flip: flip.number)
    mutable = Mutable(suite.component(), chosen)
    on_status("compiling")
    run = _bench(mutable, suite, f"mutants_{name.replace(' ', '_')}")
    _, seconds = run(0, _LONGEST)
    fates = []
    for number, flip in enumerate(chosen, 1):
        on_status(f"fault {number} of {len(chosen)}")
        said, _ = run(number, _LEAST + _PATIENCE * seconds)
        if not said:
            on_status(f"fault {number} of {len(chosen)} lives: asking the solver")
        fates.append(Fate(mutable.places[flip], FOUND if said else judge(suite.component, flip), said))
    return Score(name, len(every), tuple(fates))


def _bench(mutable: Mutable, suite: Suite, name: str) -> Callable[[int, float], tuple[str, float]]:
    """Returns what runs the bench on a fault, 0 for none, for so many seconds at most: it returns
    what the bench said, nothing if it found no fault, and the seconds it took.
    """
    binaries = compile_bench(mutable, name)
    modules = [module if "." in module else f"tests.benches.{module}" for module in suite.bench.split(",")]
    sources = {path for module in modules for path in source_files(module, ("dither", "tests"))}
    key = digest(
        binaries.name,
        [path.read_text() for path in sorted(sources)],
        json.dumps(suite.parameters, default=lambda config: config.to_dict()),
    )

    def run(number: int, timeout: float) -> tuple[str, float]:
        def build(directory: Path) -> None:
            begun, said = time.monotonic(), ""
            try:
                run_compiled(
                    binaries,
                    ",".join([SELECT, *modules]),
                    name=name,
                    parameters={**suite.parameters, "mutation": number},
                    timeout=timeout,
                )
            except BenchError as error:
                said = str(error).partition("\n")[0][-200:]
                if not number:
                    raise
            (directory / "outcome.json").write_text(json.dumps([said, round(time.monotonic() - begun, 2)]))

        said, seconds = json.loads((cached("mutants", digest(key, number), build) / "outcome.json").read_text())
        return said, seconds

    return run
