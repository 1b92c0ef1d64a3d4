"""Decides whether a fault that no bench has found can be found at all.

The component and its faulty twin get the same inputs, from power-up on, whatever these are. The
solver has to show that their outputs never differ. It does so by induction: as many registers as
possible are equal in both, always; those that are not, it finds by counterexamples and leaves out.
Memories answer the same in both while they were told the same, which is shown along.

What it proves holds for all inputs, legal or not. What it cannot prove may be a fault that shows
only under instructions that nobody may give; such a fault counts as alive all the same.
"""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from amaranth.back import rtlil
from amaranth.hdl import Fragment, Value
from amaranth.lib.wiring import In

from dither.tools.cache import cached, digest
from dither.tools.collector import collector_paused
from dither.tools.toolchain import proof_tools
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
_DEPTH, _TIMEOUT, _ROUNDS = 8, 120, 16


def decide(component: Callable[[], Any], flip: Flip) -> str:
    """Returns what is known about a fault: one of the three words above.

    :param component: makes the component.
    """
    unequal: set[str] = set()
    for _ in range(_ROUNDS):
        result, broken = _solve(_design(component, flip, unequal))
        if result == "proved":
            return EQUIVALENT
        outputs = {name for name in broken if name.startswith("output")}
        if result == "broken" and outputs:
            return DIFFERENT
        if not broken - outputs:
            return ALIVE
        unequal |= broken - outputs
    return ALIVE


def _design(component: Callable[[], Any], flip: Flip, unequal: set[str]) -> str:
    """Returns the component and its faulty twin with what must be equal, as RTLIL."""
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
        (directory / "outcome.json").write_text(json.dumps([result, sorted(_broken(text, said))]))

    place = cached("mutant-proof", digest(text, script, tools.version), build)
    result, broken = json.loads((place / "outcome.json").read_text())
    return result, set(broken)


def _broken(text: str, said: str) -> set[str]:
    """Returns the names of the checks that failed, by what the tools said."""
    names = dict(re.findall(r'^  cell \$check \$(\d+)\n    parameter \\FORMAT "(.*)"', text, re.MULTILINE))
    return {
        names[number]
        for number in re.findall(r"(?:Assert failed in|failed assertion) top.*check_(\d+)", said)
        if number in names
    }
