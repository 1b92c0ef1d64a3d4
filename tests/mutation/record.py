"""The scores that were measured last, in the file from which the page about them is made."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from .score import Fate, Score

__all__ = ["RECORD", "read_scores", "write_scores"]

RECORD = Path(__file__).with_name("scores.json")


def read_scores() -> dict[str, Score]:
    """Returns all scores by component, in the order of the page."""
    if not RECORD.exists():
        return {}
    return {
        record["component"]: Score(**record | {"fates": tuple(Fate(**fate) for fate in record["fates"])})
        for record in json.loads(RECORD.read_text())
    }


def write_scores(scores: Mapping[str, Score]) -> None:
    """Writes scores, which replace all others."""
    text = json.dumps([asdict(score) for score in scores.values()], indent=1, ensure_ascii=False)
    RECORD.write_text(text + "\n")
