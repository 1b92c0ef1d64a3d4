"""The native machine's long test in short: programs that seeds draw, and what is noted of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.soak import native


def test_what_is_done_is_not_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal, cases = tmp_path / "journal.jsonl", 2 * len(native.ENGINES)
    monkeypatch.setattr(native, "PART", 3)
    assert native.soak(3 * cases, journal) == 0
    lines = journal.read_text().splitlines()
    assert len(lines) == cases
    monkeypatch.setattr(native.Part, "run", lambda self: [f"{self.engine} {self.kind} {self.first}"])
    assert native.soak(3 * cases, journal) == 0  # nothing is left to do
    assert native.soak(3 * cases + 5, journal) == 2  # and now two parts, which find something
    assert journal.read_text().splitlines()[:cases] == lines
    assert native.done(journal, {"native": "another"}) == {}


@pytest.mark.parametrize("kind", ["descriptor", "program"])
def test_a_seed_draws_the_same_program_every_time(kind: str) -> None:
    config = native.ENGINES["2x11"]
    first, again = (native.program_of_seed("a seed", config, kind == "descriptor") for _ in range(2))
    assert first.words == again.words
    assert json.dumps([each.values.tolist() for each in first.inputs]) == json.dumps(
        [each.values.tolist() for each in again.inputs]
    )
    assert native.program_of_seed("other", config, kind == "descriptor").words != first.words
