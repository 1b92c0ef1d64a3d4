"""The SDRAM controller with a simulated chip: what is read, how fast, and every rule of the chip.

Two tests of the tests besides: the chip is played command by command at each rule's limit and a
cycle short of it, and the controller is broken on purpose in a way for each rule.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from amaranth.hdl import Const, Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from dither.store.chip import INIT_REFRESHES, Chip, Rule, chip
from dither_hw.sdram.controller import Command, SdramController
from dither_sim.memory.simulation import MemorySimulation
from tests.benches.mutation import Change, Mutable

CLOCK_HZ = 100_000_000
PERIOD = 10
ULX3S = "mt48lc16m16a2-75"
SLOW = Chip(
    name="slow",
    title="a chip whose times all differ, and are all longer than what the controller needs anyhow",
    source="made up",
    width=16,
    banks=4,
    rows=2048,
    columns=256,
    row_cycle=160,
    row_active=110,
    row_active_most=20_000,
    precharge=40,
    activate_to_access=60,
    activate_to_activate=140,
    write_recovery=90,
    refresh_cycle=180,
    refresh_interval=3_000,
    mode=50,
    power_up=2_000,
    clock_cas2=20,
    clock_cas3=10,
)


@pytest.mark.parametrize(
    "name", [ULX3S, *(pytest.param(name, marks=pytest.mark.slow) for name in ("as4c32m8sa-7", "m12l16161a-7-pair"))]
)
def test_random_and_sequential_bursts(name: str) -> None:
    found = chip(name)
    with MemorySimulation(found, CLOCK_HZ) as memory:
        assert memory.random(20_000)
        assert memory.random(10_000, most=16, hesitant=True, seed=2)
        memory.idle(200_000)
        assert memory.random(5_000, most=32, seed=3, within=4096)
        for write in (True, False):
            before = memory.account
            assert memory.sequence(4_000, most=16, write=write)
            after = memory.account
            # Refreshes and new rows cost less than a twentieth.
            assert (after.words - before.words) / (after.cycles - before.cycles) > 0.95
        assert (memory.account.wrong, memory.account.broken) == (0, frozenset())
        # What the chip forgets is seen.
        memory.upset(100 * 16 + 3, 0x10)
        assert memory.sequence(4_000, most=16, write=False)
        assert memory.account.wrong == 1


@pytest.mark.parametrize("clock_hz", [CLOCK_HZ, pytest.param(80_000_000, marks=pytest.mark.slow)])
def test_a_million_random_accesses(clock_hz: int) -> None:
    with MemorySimulation(chip(ULX3S), clock_hz) as memory:
        assert memory.random(1_000_000)
        assert memory.random(1_000_000, most=16, hesitant=True, seed=7)
        assert (memory.account.wrong, memory.account.broken) == (0, frozenset())
        assert memory.account.words > 2_000_000


def constant(wanted: int, other: int) -> Callable[[Value, Any, Module], Value | None]:
    """Where a constant is assigned, another one."""
    return lambda old, component, m: Const(other) if isinstance(old, Const) and old.value == wanted else None


def shorter(name: str, target: str) -> Change:
    """A distance that is a cycle too short."""
    cycles = getattr(SLOW.timing(CLOCK_HZ), name)
    return Change(name, target, constant(cycles - 1, cycles - 2))


LATENCY = SLOW.timing(CLOCK_HZ).latency
FAULTS: tuple[tuple[Change, frozenset[Rule]], ...] = (
    (Change("too soon", "pause", lambda old, c, m: None if isinstance(old, Const) else old - 1), {Rule.POWER_UP}),
    (Change("few refreshes", "pause", constant(INIT_REFRESHES, INIT_REFRESHES - 1)), {Rule.INITIALISED}),
    (Change("forgets open banks", "opened", lambda old, c, m: Const(0)), {Rule.STATE}),
    (shorter("row_cycle", "cycle*"), {Rule.ROW_CYCLE}),
    (shorter("row_active", "active*"), {Rule.ROW_ACTIVE}),
    (shorter("precharge", "settle"), {Rule.PRECHARGE}),
    (shorter("activate_to_access", "settle"), {Rule.ACCESS}),
    (shorter("activate_to_activate", "apart"), {Rule.OTHER_BANK}),
    (Change("no recovery", "recover", lambda old, c, m: Const(0)), {Rule.WRITE_RECOVERY}),
    (shorter("refresh_cycle", "settle"), {Rule.REFRESH_CYCLE}),
    (Change("never refreshes", "due", lambda old, c, m: Const(0)), {Rule.REFRESH, Rule.ROW_ACTIVE_MOST}),
    (shorter("mode", "settle"), {Rule.MODE}),
    (Change("a mode that is none", "address", constant(LATENCY << 4, 1 << 4)), {Rule.CLOCK}),
    (Change("no turn", "turn", lambda old, c, m: Const(0)), {Rule.BUS}),
    (Change("closes", "address", lambda old, c, m: old | 1 << 10 if old is c_column(old) else None), {Rule.UNKNOWN}),
)


def c_column(old: Value) -> Value | None:
    """The value itself where it is a column of eight bits, else None."""
    return old if not isinstance(old, Const) and len(old) == 8 else None


@pytest.fixture(scope="module")
def broken() -> Iterator[MemorySimulation]:
    controller = Mutable(SdramController(SLOW, CLOCK_HZ), [fault for fault, _ in FAULTS])
    with MemorySimulation(SLOW, CLOCK_HZ, controller=controller) as memory:
        yield memory


@pytest.mark.parametrize("number", range(len(FAULTS) + 1))
def test_a_broken_controller_is_found(broken: MemorySimulation, number: int) -> None:
    broken.restart(number)
    broken.random(3000, seed=number)
    broken.idle(5000)
    broken.random(300, most=8, seed=number + 1, within=1024)
    if number == 0:
        assert (broken.account.wrong, broken.account.broken) == (0, frozenset())
    else:
        assert FAULTS[number - 1][1] <= broken.account.broken


Step = tuple[int, Command, int, int]
"""A pause in cycles since the step before, a command, a bank and an address."""
ALL = 1 << 10
UP = SLOW.timing(CLOCK_HZ)


def start(refreshes: int = INIT_REFRESHES, mode: int = LATENCY << 4, up: int = UP.power_up) -> list[Step]:
    first = [(up, Command.PRECHARGE, 0, ALL), (UP.precharge, Command.REFRESH, 0, 0)]
    more = [(UP.refresh_cycle, Command.REFRESH, 0, 0)] * (refreshes - 1)
    return [*first, *more, (UP.refresh_cycle, Command.MODE, 0, mode)]


@dataclass(frozen=True)
class Case:
    """Commands at a rule's limit: the last one's pause is the least (or most) that is allowed."""

    rule: Rule
    steps: list[Step]
    change: int = -1
    """What must be added to the last pause to break the rule."""


OPEN = (20, Command.ACTIVATE, 0, 7)
READ, WRITE = Command.READ, Command.WRITE
CASES = [
    # The chip's clock runs a few cycles before the player begins.
    Case(Rule.POWER_UP, [(UP.power_up, Command.PRECHARGE, 0, ALL)], -6),
    Case(Rule.ROW_ACTIVE, [*start(), OPEN, (UP.row_active, Command.PRECHARGE, 0, 0)]),
    Case(
        Rule.ROW_CYCLE,
        [*start(), OPEN, (UP.row_active, Command.PRECHARGE, 0, 0), (UP.row_cycle - UP.row_active, *OPEN[1:])],
    ),
    Case(Rule.PRECHARGE, [*start(), OPEN, (50, Command.PRECHARGE, 0, ALL), (UP.precharge, Command.REFRESH, 0, 0)]),
    Case(Rule.ACCESS, [*start(), OPEN, (UP.activate_to_access, READ, 0, 5)]),
    Case(Rule.OTHER_BANK, [*start(), OPEN, (UP.activate_to_activate, Command.ACTIVATE, 3, 7)]),
    Case(Rule.WRITE_RECOVERY, [*start(), OPEN, (10, WRITE, 0, 1), (UP.write_recovery, Command.PRECHARGE, 0, 0)]),
    Case(Rule.READ_CUT, [*start(), OPEN, (30, READ, 0, 1), (UP.read_to_close, Command.PRECHARGE, 0, 0)]),
    Case(Rule.REFRESH_CYCLE, [*start(), (20, Command.REFRESH, 0, 0), (UP.refresh_cycle, *OPEN[1:])]),
    Case(Rule.MODE, [*start(), (UP.mode, *OPEN[1:])]),
    Case(Rule.BUS, [*start(), OPEN, (30, READ, 0, 1), (LATENCY + 2, WRITE, 0, 1)]),
    Case(Rule.ROW_ACTIVE_MOST, [*start(), OPEN, (2000, Command.PRECHARGE, 0, 0)], 1),
    Case(Rule.REFRESH, [*start(), (2700, Command.REFRESH, 0, 0)], 1),
]
WRONG = {
    Rule.INITIALISED: [start(refreshes=INIT_REFRESHES - 1), [(UP.power_up, *OPEN[1:])], start()[1:]],
    Rule.STATE: [
        [*start(), OPEN, (50, *OPEN[1:])],
        [*start(), (20, READ, 1, 0)],
        [*start(), OPEN, (50, *start()[-1][1:])],
    ],
    Rule.CLOCK: [start(mode=2 << 4), start(mode=LATENCY << 4 | 3)],
    Rule.UNKNOWN: [[*start(), OPEN, (10, READ, 0, ALL)]],
    Rule.REFRESH: [[*start(), (9000, *OPEN[1:])]],
    Rule.BUS: [[*start(), OPEN, (30, READ, 0, 1), (LATENCY, WRITE, 0, 1)]],
}


class Player(wiring.Component):
    """Plays lists of commands to a chip; the input ``mutation`` says which."""

    def __init__(self, scripts: list[list[Step]]) -> None:
        self.scripts = scripts
        super().__init__({**SdramController(SLOW, CLOCK_HZ).signature.members, "mutation": In(16)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        moment = Signal(16)
        m.d.sync += moment.eq(moment + 1)
        m.d.comb += self.ready.eq(1)
        with m.Switch(self.mutation):
            for number, script in enumerate(self.scripts):
                with m.Case(number), m.Switch(moment):
                    at = 0
                    for pause, command, bank, address in script:
                        at += pause
                        with m.Case(at):
                            m.d.comb += [
                                self.pins.command.eq(command),
                                self.pins.bank.eq(bank),
                                self.pins.address.eq(address),
                                self.pins.drive.eq(command == Command.WRITE),
                            ]
        return m


def changed(case: Case) -> list[Step]:
    pause, *rest = case.steps[-1]
    return [*case.steps[:-1], (pause + case.change, *rest)]


WRONG_SCRIPTS = [(rule, script) for rule, scripts in WRONG.items() for script in scripts]
SCRIPTS = [case.steps for case in CASES] + [changed(case) for case in CASES] + [script for _, script in WRONG_SCRIPTS]


@pytest.fixture(scope="module")
def played() -> Iterator[MemorySimulation]:
    with MemorySimulation(SLOW, CLOCK_HZ, controller=Player(SCRIPTS)) as memory:
        yield memory


def play(memory: MemorySimulation, number: int) -> frozenset[Rule]:
    memory.restart(number)
    memory.idle(sum(step[0] for step in SCRIPTS[number]) + 20)
    return memory.account.broken


@pytest.mark.parametrize("number", range(len(CASES)), ids=[case.rule.name for case in CASES])
def test_a_rule_holds_at_its_limit_and_breaks_a_cycle_beyond(played: MemorySimulation, number: int) -> None:
    assert play(played, number) == frozenset()
    assert play(played, len(CASES) + number) == {CASES[number].rule}


@pytest.mark.parametrize("number", range(len(WRONG_SCRIPTS)))
def test_wrong_sequences_are_found(played: MemorySimulation, number: int) -> None:
    assert WRONG_SCRIPTS[number][0] in play(played, 2 * len(CASES) + number)


def test_every_rule_is_tested() -> None:
    assert {case.rule for case in CASES} | set(WRONG) == set(Rule)
    assert {rule for _, rules in FAULTS for rule in rules} == set(Rule) - {Rule.READ_CUT}
