"""Runs all proofs and makes the page about them: ``python -m tests.proofs``."""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tests.benches.mutation import Change

from .catalogue import PROOFS
from .harness import Outcome, Proof, ProofError, run
from .page import page

PAGE = Path(__file__).resolve().parents[2] / "docs" / "proofs.md"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.proofs", description="Runs the proofs of the gateware.")
    parser.add_argument("names", nargs="*", help="parts of names; all proofs if there are none")
    parser.add_argument("--jobs", type=int, default=1, help="proofs at a time; each takes two processors (default 1)")
    chosen = parser.parse_args()
    proofs = [proof for proof in PROOFS if not chosen.names or any(name in proof.name for name in chosen.names)]
    if not proofs:
        print(f"no proof has such a name; there are: {', '.join(proof.name for proof in PROOFS)}", file=sys.stderr)
        return 2
    tasks: list[tuple[Proof, Change | None]] = [(proof, fault) for proof in proofs for fault in (None, *proof.faults)]
    outcomes: dict[tuple[str, str | None], Outcome] = {}
    bad = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns) as progress, ThreadPoolExecutor(chosen.jobs) as pool:
        bar = progress.add_task("proofs", total=len(tasks))

        def work(task: tuple[Proof, Change | None]) -> None:
            proof, fault = task
            name = proof.name if fault is None else f"{proof.name}, fault: {fault.name}"
            progress.update(bar, description=name)
            try:
                outcome = run(proof, fault)
            except ProofError as error:
                bad.append(f"{name}: {error}")
            else:
                outcomes[proof.name, fault and fault.name] = outcome
                wanted = "proved" if fault is None else "broken"
                if outcome.result != wanted:
                    bad.append(f"{name}: {outcome.result} {outcome.check}".rstrip())
                progress.console.print(f"{name}: {outcome.result}, {outcome.seconds} s", highlight=False)
            progress.advance(bar)

        list(pool.map(work, tasks))
    for line in bad:
        print(line, file=sys.stderr)
    if bad:
        return 1
    if not chosen.names:
        PAGE.write_text(page(PROOFS, outcomes))
        print(f"written: {PAGE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
