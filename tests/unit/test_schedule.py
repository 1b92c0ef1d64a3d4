"""What modulo schedules refuse, and how long their registers hold a value."""

from __future__ import annotations

import pytest
from amaranth.hdl import Module, Signal
from amaranth.sim import Simulator

from dither_hw.base.schedule import Schedule, Slots

INTERVAL = 3


def test_a_value_is_not_there_before_it_is_known() -> None:
    schedule = Schedule(Module(), INTERVAL)
    kept = schedule.keep(Signal(), 4, "flag")
    with pytest.raises(ValueError, match="flag is known from time 5, not 4"):
        kept.at(4)


def test_a_unit_has_as_many_slots_as_phases() -> None:
    slots = Slots(Schedule(Module(), INTERVAL))
    assert [slots.reserve(time) for time in (1, 4, 4)] == [1, 5, 6]
    with pytest.raises(ValueError, match="no phase left of 3"):
        slots.reserve(7)


def test_values_live_as_long_as_they_are_asked_for() -> None:
    m = Module()
    start, time = Signal(), Signal(8)
    m.d.sync += time.eq(time + 1)
    schedule = Schedule(m, INTERVAL)
    schedule.begin(start)
    kept = schedule.keep(time, 1, "time")
    views = {age: Signal(8, name=f"age{age}") for age in range(1, 9)}
    m.d.comb += [view.eq(kept.at(1 + age)) for age, view in views.items()]

    async def testbench(ctx) -> None:  # type: ignore[no-untyped-def]
        ctx.set(start, 1)
        await ctx.tick()
        ctx.set(start, 0)
        begin = ctx.get(time)  # time 0 of the first item
        for _ in range(20):
            for age, view in views.items():
                item_time = ctx.get(time) - begin - age - 1
                if item_time >= 0 and item_time % INTERVAL == 0:
                    assert ctx.get(view) == ctx.get(time) - age
            await ctx.tick()

    simulator = Simulator(m)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()
