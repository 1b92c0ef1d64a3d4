"""Decides whether a fault that no bench has found can be found at all.

First Yosys' own solver looks at one step, from whatever state: if all outputs and next states are
the same, there is no more to ask. Otherwise the component and its faulty twin get the same inputs,
from power-up on, whatever these are, and Boolector has to show that their outputs never differ. It
does so by induction: as many registers as possible are equal in both, always; those that are not,
it finds by counterexamples and leaves out. Of a short register that is left out, as many pairs of
values as possible never meet, found in the same way: so it sees that a counter counts in another
code. If all of that is not enough, it also finds registers that are always even. Memories answer
the same in both while they were told the same, which is shown along.

What it proves holds for all inputs, legal or not. What it cannot prove may be a fault that shows
only under instructions that nobody may give; such a fault counts as alive all the same.
"""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from amaranth.back import rtlil
from amaranth.hdl import ClockDomain, Fragment, Module, Value
from amaranth.hdl._ast import SignalSet
from amaranth.hdl._mem import MemoryInstance
from amaranth.lib.wiring import In

from dither.arch.device import DeviceError
from dither.tools.cache import cached, digest
from dither.tools.collector import collector_paused
from dither.tools.toolchain import proof_tools, run_yosys, yosys_version
from tests.benches.mutation import Flip, Mutable
from tests.proofs.harness import Bench

__all__ = ["ALIVE", "DIFFERENT", "EQUIVALENT", "decide"]

EQUIVALENT = "equivalent"
"""No input whatever makes a difference."""
DIFFERENT = "different"
"""There are inputs, legal or not, by which it shows within some cycles from power-up."""
ALIVE = "undecided"
"""The solver knows neither the one nor the other."""

_SCRIPT = """[options]
mode prove
depth {depth}
timeout {timeout}

[engines]
smtbmc --nopresat boolector

[script]
read_rtlil top.il
prep -flatten -top top

[files]
top.il
"""
_STEP = """
{sides}
design -copy-from sound sound; design -copy-from faulty faulty
miter -equiv -flatten sound faulty pair; hierarchy -top pair; opt -full; sat -verify -prove trigger 0 pair
"""
_SIDE = """
read_rtlil {side}.il; hierarchy -top {side}; proc; flatten; opt_clean -purge; dffunmap; opt_clean -purge
expose -evert-dff; design -stash {side}
"""
_SIDES = ("sound", "faulty")
_DEPTH, _TIMEOUT, _ROUNDS, _EVEN_ROUNDS = 8, 120, 32, 64
_SHORT = 5
"""Most bits of a register whose pairs of values are looked at one by one."""


def decide(component: Callable[[], Any], flip: Flip) -> str:
    """Returns what is known about a fault: one of the three words above.

    :param component: makes the component.
    """
    if _same_step(component, flip):
        return EQUIVALENT
    known = _induce(component, flip, even=False)
    return _induce(component, flip, even=True) if known == ALIVE else known


def _induce(component: Callable[[], Any], flip: Flip, *, even: bool) -> str:
    """Returns what induction finds out.

    :param even: whether it also looks for registers that are always even.
    """
    unequal: set[str] = set()
    for _ in range(_EVEN_ROUNDS if even else _ROUNDS):
        result, broken = _solve(_design(component, flip, unequal, even))
        if result == "proved":
            return EQUIVALENT
        outputs = {name for name in broken if name.startswith("output")}
        if result == "broken" and outputs:
            return DIFFERENT
        if not broken - outputs:
            return ALIVE
        unequal |= broken - outputs
    return ALIVE


def _same_step(component: Callable[[], Any], flip: Flip) -> bool:
    """Whether every step from every state is the same; equal states then stay equal."""
    texts = {side: _side(Mutable(component(), [flip]), side) for side in _SIDES}
    script = _STEP.format(sides="".join(_SIDE.format(side=side) for side in _SIDES))

    def build(directory: Path) -> None:
        for side, text in texts.items():
            (directory / f"{side}.il").write_text(text)
        try:
            run_yosys("; ".join(script.split("\n")).strip("; "), directory)
            same = True
        except DeviceError:
            same = False
        (directory / "same.json").write_text(json.dumps(same))

    place = cached("mutant-step", digest(*texts.values(), script, yosys_version()), build)
    same: bool = json.loads((place / "same.json").read_text())
    return same


def _side(mutable: Mutable, side: str) -> str:
    """Returns a component with or without its fault as RTLIL. Memories are cut out: what they are
    asked and told leaves it, and what they answer is free.
    """
    with collector_paused():
        m, domain = Module(), ClockDomain("sync", reset_less=True)
        m.domains.sync = domain
        m.d.comb += mutable.mutation.eq(_SIDES.index(side))
        m.submodules.it = fragment = Fragment.get(mutable, None)
        ports = [Value.cast(value) for _, _, value in mutable.component.signature.flatten(mutable.component)]
        for memory in _cut_memories(fragment):
            for port in (*memory._write_ports, *memory._read_ports):
                ports += [port._en, port._addr, port._data]
        signals = SignalSet([domain.clk, *(signal for port in ports for signal in port._rhs_signals())])
        named: dict[str, Any] = {f"port{number}": (signal, None) for number, signal in enumerate(signals)}
        return rtlil.convert(Fragment.get(m, None), name=side, ports=named, emit_src=False)


def _cut_memories(fragment: Any) -> list[MemoryInstance]:
    """Takes all memories below a fragment out of it."""
    cut = [child for child, _, _ in fragment.subfragments if isinstance(child, MemoryInstance)]
    fragment.subfragments = [entry for entry in fragment.subfragments if not isinstance(entry[0], MemoryInstance)]
    return [*cut, *(memory for child, _, _ in fragment.subfragments for memory in _cut_memories(child))]


def _design(component: Callable[[], Any], flip: Flip, unequal: set[str], even: bool) -> str:
    """Returns the component and its faulty twin with what must be equal, as RTLIL.

    :param unequal: names of checks that do not hold.
    :param even: whether there are checks that registers are even.
    """
    with collector_paused():
        bench, twin = Bench(component(), None), Mutable(component(), [flip])
        pairs = bench.pair(twin)
        bench.m.d.comb += twin.mutation.eq(1)
        for path, member, value in bench.dut.signature.flatten(bench.dut):
            mine, other = Value.cast(value), twin
            for step in path:
                other = getattr(other, step) if isinstance(step, str) else other[step]
            other = Value.cast(other)
            if member.flow == In:
                bench.m.d.comb += other.eq(mine)
            else:
                bench.check(mine == other, f"output {'.'.join(map(str, path))}")
        for number, (mine, other) in enumerate(pairs):
            name = f"register_{number}"
            if name not in unequal:
                bench.check(mine == other, name)
            elif len(mine) <= _SHORT:
                for one, two in itertools.product(range(1 << len(mine)), repeat=2):
                    if (meeting := f"{name}_{one}_{two}") not in unequal:
                        bench.check((mine != one) | (other != two), meeting)
            if even and len(mine) > 1 and (name := f"even_{number}") not in unequal:
                bench.check(~mine[0], name)
        text = rtlil.convert(Fragment.get(bench.m, None), name="top", ports=bench.ports(), emit_src=False)
    return text.replace("cell \\$anyconst", "cell $anyconst")


def _solve(text: str) -> tuple[str, set[str]]:
    """Returns ``proved``, ``broken`` or ``undecided``, and what a counterexample breaks."""
    tools = proof_tools()
    script = _SCRIPT.format(depth=_DEPTH, timeout=_TIMEOUT)

    def build(directory: Path) -> None:
        with tempfile.TemporaryDirectory(prefix="dither-mutant-") as folder:
            (Path(folder) / "top.il").write_text(text)
            (Path(folder) / "proof.sby").write_text(script)
            done = subprocess.run(
                [*tools.command, "-f", "proof.sby"],
                cwd=folder,
                env=tools.environment,
                capture_output=True,
                text=True,
                check=False,
            )
        said = done.stdout + done.stderr
        result = {0: "proved", 2: "broken"}.get(done.returncode, "undecided")
        # A run from power-up that breaks something says more than one of the induction, which may
        # break something else at the same time, from states that never are.
        task = "basecase" if result == "broken" else r"\w+"
        (directory / "outcome.json").write_text(json.dumps([result, sorted(_broken(text, said, task))]))

    place = cached("mutant-outcome", digest(text, script, tools.version), build)
    result, broken = json.loads((place / "outcome.json").read_text())
    return result, set(broken)


def _broken(text: str, said: str, task: str) -> set[str]:
    """Returns the names of the checks that failed, by what the tools said.

    :param task: which of the tools' tasks counts, a regular expression.
    """
    names = dict(re.findall(r'^  cell \$check \$(\d+)\n    parameter \\FORMAT "(.*)"', text, re.MULTILINE))
    failed = re.findall(rf"{task}: .*Assert failed in top.*check_(\d+)", said)
    return {names[number] for number in failed if number in names}
