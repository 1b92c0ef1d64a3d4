"""Measures the benches by random faults: ``python -m tests.mutation``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from .catalogue import COMPONENTS
from .equivalence import ALIVE, decide
from .page import page
from .record import RECORD, read_scores, write_scores
from .score import FOUND, measure

PAGE = Path(__file__).resolve().parents[2] / "docs" / "mutation.md"
COUNT, SEED = 20, 1
"""Faults of each component, and the seed by which they are chosen."""


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.mutation",
        description="Plants random faults into components and looks whether their benches notice.",
    )
    parser.add_argument("names", nargs="*", help="components; all of them if there are none")
    parser.add_argument("--count", type=int, default=COUNT, help=f"faults of each component (default {COUNT})")
    parser.add_argument("--seed", type=int, default=SEED, help=f"which ones (default {SEED}); others are not recorded")
    parser.add_argument(
        "--no-solver", action="store_true", help="do not ask whether what lives is equivalent; nothing is recorded"
    )
    chosen = parser.parse_args()
    if unknown := [name for name in chosen.names if name not in COMPONENTS]:
        print(f"no component {unknown[0]!r}; there are: {', '.join(COMPONENTS)}", file=sys.stderr)
        return 2
    recorded = (chosen.count, chosen.seed, chosen.no_solver) == (COUNT, SEED, False)
    console = Console()
    for name in chosen.names or COMPONENTS:
        with console.status(name) as status:
            score = measure(
                name,
                COMPONENTS[name],
                chosen.count,
                chosen.seed,
                lambda text, name=name, status=status: status.update(escape(f"{name}: {text}")),  # type: ignore[misc]
                (lambda component, flip: ALIVE) if chosen.no_solver else decide,
            )
        console.print(f"{name}: {score.count(FOUND)} of {score.matter} that matter, {score.share:.1%}", highlight=False)
        for fate in score.fates:
            if fate.fate != FOUND:
                console.print(f"  {escape(fate.fate)}: {escape(fate.fault)}", highlight=False, soft_wrap=True)
        if recorded:
            # After each one, so that nothing is lost on Ctrl-C.
            scores = read_scores() | {name: score}
            kept = {name: scores[name] for name in COMPONENTS if name in scores}
            write_scores(kept)
            PAGE.write_text(page(list(kept.values()), COUNT, SEED))
    if recorded:
        console.print(f"written: {RECORD}, {PAGE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
