"""The perturbation generator's bench on Verilator."""

from __future__ import annotations

import pytest

from dither_hw.base.generator import Generator
from tests.benches.runner import run_bench


@pytest.mark.parametrize("rounds", [1, 2, 4])
def test_generator(rounds: int) -> None:
    parameters = {"rounds_per_cycle": rounds, "count": 60}
    run_bench(Generator(rounds), "bench_generator", name=f"generator_{rounds}", parameters=parameters)


def test_other_rounds_are_refused() -> None:
    with pytest.raises(ValueError, match="rounds_per_cycle must be 1, 2 or 4, not 3"):
        Generator(3)
