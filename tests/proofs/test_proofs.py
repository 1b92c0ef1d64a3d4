"""The proofs as tests: each holds for the component as it is, and for none of its faults."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from .catalogue import PROOFS
from .harness import Proof, run

CASES = [pytest.param(proof, id=proof.name, marks=[pytest.mark.slow] if proof.slow else []) for proof in PROOFS]


@pytest.mark.parametrize("proof", CASES)
def test_it_holds(proof: Proof) -> None:
    outcome = run(proof)
    assert outcome.result == "proved", outcome


@pytest.mark.parametrize("proof", CASES)
def test_its_faults_are_found(proof: Proof) -> None:
    assert proof.faults
    for fault in proof.faults:
        outcome = run(proof, fault)
        assert outcome.result == "broken", (fault.name, outcome)
        assert outcome.check


def test_the_page_has_all_of_them(root: Path) -> None:
    rows = re.findall(r"^\| ([^|]+) \| ([^|]*) \| ([^|]+) \| \d+\.\d \|$", (root / "docs/proofs.md").read_text(), re.M)
    assert rows == [(proof.name, proof.size, proof.method) for proof in PROOFS], "run: make prove"
    assert len({proof.name for proof in PROOFS}) == len(PROOFS)
