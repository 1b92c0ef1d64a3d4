"""The README's program does what it says."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import dither

README = Path(__file__).parents[2] / "README.md"


def test_the_program_trains() -> None:
    (program,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    exec(program, names)
    losses = names["losses"]
    assert len(losses) == 20
    assert losses[0] < 1.2 * math.log(10)
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])


def test_the_names_that_it_lists_are_there() -> None:
    (listed,) = re.findall(r"comes from `dither` itself: (.*?)\n\n", README.read_text(), re.DOTALL)
    names = re.findall(r"`([A-Za-z_]+)[`(]", listed)
    assert len(names) >= 10
    assert set(names) <= set(dither.__all__)
