"""Random faults in a component, and which of them its bench finds."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from amaranth.hdl import Fragment

from dither.tools.cache import cached, digest
from dither.tools.sources import source_files
from tests.benches.mutation import SELECT, Flip, Mutable, flips
from tests.benches.runner import BenchError, compile_bench, run_compiled
from tests.cocotb.faults import Suite

from .equivalence import EQUIVALENT, decide

__all__ = ["FOUND", "Fate", "Score", "measure"]

FOUND = "found"
"""The bench failed."""
_PATIENCE = 5.0
"""How many times as long as on the component as it is a bench may take."""
_LEAST = 20.0
_BENCHES = Path(__file__).resolve().parents[1] / "benches"


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


def _faults(suite: Suite, count: int, seed: int) -> tuple[int, list[Flip]]:
    """Returns how many faults a component has, and a random choice of them."""
    whole = Mutable(suite.component(), [])
    Fragment.get(whole, None)
    return whole.flips, flips(suite.component(), count, seed)


def _fates(
    name: str, suite: Suite, chosen: list[Flip], on_status: Callable[[str], None] = lambda text: None
) -> Iterator[Fate]:
    """Runs a component's bench on each fault, and asks the solver about what it does not find.

    Everything is kept under the digest of what it depends on, so that who was interrupted goes on.

    :param on_status: called with what is going on.
    :raises BenchError: if the bench fails on the component as it is.
    """
    word = name.replace(" ", "_")
    mutable = Mutable(suite.component(), chosen)
    on_status("compiling")
    binaries = compile_bench(mutable, f"mutants_{word}")
    modules = [module if "." in module else f"tests.benches.{module}" for module in suite.bench.split(",")]
    key = digest(
        binaries.name, _sources(modules), json.dumps(suite.parameters, default=lambda config: config.to_dict())
    )

    def run(number: int, timeout: float) -> tuple[str, float]:
        def build(directory: Path) -> None:
            begun, said = time.monotonic(), ""
            try:
                run_compiled(
                    binaries,
                    ",".join([SELECT, *modules]),
                    name=f"mutants_{word}",
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

    _, seconds = run(0, 600.0)
    for number, flip in enumerate(chosen, 1):
        place = mutable.places[flip]
        on_status(f"fault {number} of {len(chosen)}")
        said, _ = run(number, _LEAST + _PATIENCE * seconds)
        if said:
            yield Fate(place, FOUND, said)
            continue
        on_status(f"fault {number} of {len(chosen)} lives: asking the solver")
        yield Fate(place, decide(suite.component, flip), "")


def _sources(modules: list[str]) -> list[str]:
    """Returns the texts of the benches, and of all that they import from the packages."""
    own = sorted(_BENCHES.glob("*.py"))
    packages = {path for module in modules for path in source_files(module)}
    return [path.read_text() for path in sorted({*own, *packages})]


def measure(
    name: str, suite: Suite, count: int, seed: int, on_status: Callable[[str], None] = lambda text: None
) -> Score:
    """Returns the score of a component's bench.

    :param count: faults to try, at most.
    """
    places, chosen = _faults(suite, count, seed)
    return Score(name, places, tuple(_fates(name, suite, chosen, on_status)))
