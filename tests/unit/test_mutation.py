"""Scores of benches: what the solver says of faults, and the page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from amaranth.hdl import Const, Fragment, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tests.benches.mutation import Mutable, flips
from tests.mutation.__main__ import COUNT, SEED
from tests.mutation.catalogue import COMPONENTS
from tests.mutation.equivalence import ALIVE, DIFFERENT, EQUIVALENT, decide
from tests.mutation.page import page
from tests.mutation.record import read_scores
from tests.mutation.score import FOUND, Fate, Score


class _Small(wiring.Component):
    """A counter to two, whose third bit is never set, and a register that nobody reads."""

    def __init__(self) -> None:
        super().__init__({"go": In(1), "out": Out(2)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        count = Signal(2)
        idle = Signal()
        m.d.sync += idle.eq(self.go)
        with m.If(self.go):
            m.d.sync += count.eq(Mux(count == Const(2, 2), 0, count + 1))
        m.d.comb += self.out.eq(count)
        return m


class _Coded(wiring.Component):
    """Every third go; what it counts to is nobody's business."""

    def __init__(self) -> None:
        super().__init__({"go": In(1), "out": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        count = Signal(2)
        with m.If(self.go):
            m.d.sync += count.eq(Mux(self.out, 0, count + 1))
        m.d.comb += self.out.eq(count == 2)
        return m


class _Outer(wiring.Component):
    """A small component within another."""

    def __init__(self) -> None:
        super().__init__({"go": In(1), "out": Out(2)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.inner = inner = _Small()
        m.d.comb += [inner.go.eq(self.go), self.out.eq(inner.out)]
        return m


def _flips(component: Callable[[], wiring.Component], text: str = "") -> dict[str, str]:
    """What the solver says, by what each fault with this text changes."""
    said = {}
    for flip in flips(component()):
        mutable = Mutable(component(), [flip])
        Fragment.get(mutable, None)
        if text in mutable.places[flip]:
            said[mutable.places[flip]] = decide(component, flip)
    return said


@pytest.mark.slow
def test_the_solver_tells_faults_that_matter_from_others() -> None:
    said = _flips(_Small)
    assert said["idle: (sig go) -> (slice (^ (sig go) (const 1'd1)) 0:1)"] == EQUIVALENT
    assert said["out: (sig count) -> (slice (^ (sig count) (const 1'd1)) 0:2)"] == DIFFERENT
    assert ALIVE not in said.values()


@pytest.mark.slow
def test_the_solver_sees_that_a_counter_counts_in_another_code() -> None:
    other = "(- (sig count) (const 1'd1))"
    assert [*_flips(_Coded, other).values()] == [EQUIVALENT]


def test_the_page_is_that_of_the_recorded_scores(root: Path) -> None:
    scores = read_scores()
    assert list(scores) == [name for name in COMPONENTS if name in scores], "run: make mutate"
    assert (root / "docs" / "mutation.md").read_text() == page(list(scores.values()), COUNT, SEED), "run: make mutate"


def test_parts_of_components_have_faults_of_their_own() -> None:
    every, part = flips(_Outer()), flips(_Outer(), "inner.*")
    assert flips(_Outer(), "nowhere.*") == []
    assert set(part) < set(every)
    for flip in part:
        mutable = Mutable(_Outer(), [flip])
        Fragment.get(mutable, None)
        assert mutable.places[flip].startswith("inner.")


def test_the_page_has_scores_and_what_lives() -> None:
    fates = [Fate("a", FOUND, "values differ")] * 8 + [Fate("b", EQUIVALENT, ""), Fate("x | y", ALIVE, "")]
    score = Score("thing", 70, tuple(fates))
    assert (score.matter, score.share) == (9, 8 / 9)
    text = page([score], 10, 1)
    assert "| thing | 70 | 10 | 1 | 8 | 88.9% |" in text
    assert "| all | 70 | 10 | 1 | 8 | 88.9% |" in text
    assert "| thing | `x ¦ y` | undecided |" in text
    assert "`b`" not in text
