"""Faults in the native machine's C++ are found by what holds it against the golden machine."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from dither.native import build
from tests.programs import programs

from .test_native import ENGINES, OVERLAPS, Both
from .test_native import test_sums_on_either_side_of_what_small_integers_hold as hold_sums
from .test_native import test_the_last_of_several_writes_counts as hold_overlaps

pytestmark = pytest.mark.slow

FAULTS = {
    "sums are cut, not rounded": ("contract.cpp", "sums[p][r] = all(0.5);", "sums[p][r] = all(0.0);"),
    "one clip is missing": (
        "drain.h",
        "smaller(larger(value, all(-half)), all(half - 1))",
        "larger(value, all(-half))",
    ),
    "lanes that are not there count": ("memories.h", "(1u << left) - 1", "0xFF"),
    "an index register is ignored": ("sequencer.cpp", "fields.x_base + registers_[fields.x_index]", "fields.x_base"),
    "another rotation": ("generator.cpp", "ROTATIONS[round % 8]", "ROTATIONS[(round + 4) % 8]"),
    "the last tile has all rows": ("contract.cpp", "{last_rows, row.stride}", "{row.count, row.stride}"),
    "a moment stands still": ("update.cpp", "return rounded ? rounded : sign(way);", "return rounded;"),
    "halves go up": ("loss.cpp", "+ (probability & 1)) >> shift", "+ 1) >> shift"),
    "a loop of sums stands still": ("correlate.cpp", "left_words[r] + term.y * GROUP", "left_words[r]"),
    "every second term is missing": ("pairs.cpp", "term + 1 < terms_ ? first[terms[term + 1].w] : 0", "0"),
    "lower bits do not count": ("pairs.cpp", "sums[SUMS - 1][r] + (sums[0][r] >> LOWER)", "sums[SUMS - 1][r]"),
    "signs are one place further": ("dither.cpp", "first_ + word + group", "first_ + 1 + word + group"),
}


@pytest.fixture
def broken(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The native machine compiled from sources with a fault, with little optimisation."""
    file, right, wrong = request.param
    folder = Path(shutil.copytree(build.SOURCES, tmp_path / "broken"))
    text = (folder / file).read_text()
    assert right in text
    (folder / file).write_text(text.replace(right, wrong))
    monkeypatch.setattr(build, "SOURCES", folder)
    monkeypatch.setattr(build, "_FLAGS", [flag.replace("-O3", "-O1") for flag in build._FLAGS])
    monkeypatch.setenv("DITHER_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("broken", FAULTS.values(), ids=list(FAULTS), indirect=True)
def test_the_fault_is_found(broken: None) -> None:
    machines = {engine: Both(ENGINES[engine]) for engine in ("2x11", "8x35")}

    @settings(
        max_examples=300,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(data=st.data(), engine=st.sampled_from(sorted(machines)))
    def hold_against_golden(data: st.DataObject, engine: str) -> None:
        both = machines[engine]
        program = data.draw(programs(both.config, single=data.draw(st.booleans()), small=data.draw(st.booleans())))
        assert both.run(program.words, program.inputs, program.expects) is None

    with pytest.raises(AssertionError):
        hold_against_golden()


@pytest.mark.parametrize("broken", [("contract.cpp", "if (twice)", "if (false)")], indirect=True)
def test_writes_out_of_order_are_found(broken: None) -> None:
    def hold_against_golden() -> None:
        for strides in OVERLAPS:
            hold_overlaps(strides)

    with pytest.raises(AssertionError):
        hold_against_golden()


@pytest.mark.parametrize("broken", [("pairs.cpp", "largest > limits_[run.matrix]", "largest > LARGEST")], indirect=True)
def test_sums_that_leave_32_bits_are_found(broken: None) -> None:
    with pytest.raises(AssertionError):
        hold_sums(32767, 0, 16)
