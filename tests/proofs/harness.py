"""What proofs are made of: a component with its specification, and the tools that decide about it.

A proof's specification is written in Amaranth, beside the component: it drives what the component
expects of others (:meth:`Bench.assume`) and says what must hold (:meth:`Bench.check`). The solver
looks for inputs, of any kind and in any order, that break it. With k-induction, what it does not
find does not exist; a bounded proof says so up to a number of cycles behind the start.

k-induction starts from any state, also from those that are never reached. Where that finds
something, the specification says more about the component's registers, which it gets by name
(:meth:`Bench.register`); what it says is proved along with all the rest.
"""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amaranth.back import rtlil
from amaranth.hdl import (
    Assert,
    Assume,
    Cat,
    ClockDomain,
    Fragment,
    Instance,
    Module,
    Shape,
    Signal,
    Value,
)
from amaranth.hdl._mem import MemoryInstance

from dither.tools.cache import cached, digest
from dither.tools.collector import collector_paused
from dither.tools.toolchain import proof_tools
from tests.benches.mutation import Change, Mutable

__all__ = ["Bench", "Outcome", "Proof", "ProofError", "run"]

_SCRIPT = """[options]
mode {mode}
depth {depth}
timeout {timeout}

[engines]
smtbmc {options}boolector

[script]
read_rtlil top.il
prep -flatten -top top
{memories}
[files]
top.il
"""
_FORM = 1
"""Number of the form in which outcomes are kept; another one makes all of them anew."""
_TIMEOUT = 1200
"""Seconds after which a proof counts as undecided."""


class ProofError(RuntimeError):
    """The tools failed, so nothing is known about the component."""


class Bench:
    """A component on the bench: what its specification is written with.

    All inputs of the component that the specification does not drive are free: the solver chooses
    them, anew in every cycle.

    Attributes
    ----------
    m : Module
        The specification's own logic.
    dut : Any
        The component.

    :param component: not yet elaborated, and of no other use afterwards.
    :param fault: what is to be wrong with it.
    """

    def __init__(self, component: Any, fault: Change | None) -> None:
        self.m = Module()
        self.dut = component
        self.twin: Any = None
        self._faulty = fault is not None
        self._free: list[Signal] = []
        domain = ClockDomain("sync", reset_less=True)
        self.m.domains.sync = domain
        self._clock = domain.clk
        if fault is None:
            self._inner = Fragment.get(component, None)
        else:
            broken = Mutable(component, [fault])
            fragment = Fragment.get(broken, None)
            self._inner = next(child for child, name, _ in fragment.subfragments if name == "component")
            self.m.d.comb += broken.mutation.eq(1)
            component = fragment
        self.m.submodules.dut = self._inner if fault is None else component
        self._started = Signal(name="started")
        self.m.d.sync += self._started.eq(1)

    @property
    def started(self) -> Value:
        """It is not the first cycle, so the cycle before may be looked at."""
        return self._started

    def ports(self) -> list[Value]:
        """Everything that is free unless it is driven."""
        leaves = [Value.cast(value) for _, _, value in self.dut.signature.flatten(self.dut)]
        return [self._clock, *leaves, *self._free]

    def free(self, shape: Any, name: str) -> Any:
        """Returns a signal whose value the solver chooses anew in every cycle."""
        signal = Signal(shape, name=_word(name))
        self._free.append(Value.cast(signal))
        return signal

    def constant(self, shape: Any, name: str) -> Signal:
        """Returns a signal with a value that the solver chooses once."""
        name = _word(name)
        signal = Signal(shape, name=name)
        self.m.submodules[f"any_{name}"] = Instance(
            "$anyconst", p_WIDTH=Shape.cast(shape).width, o_Y=Value.cast(signal)
        )
        return signal

    def assume(self, condition: Any) -> None:
        """Says what the component may expect of whoever drives it, in every cycle."""
        self.m.d.comb += Assume(condition)

    def check(self, condition: Any, what: str) -> None:
        """Says what must hold in every cycle.

        :param what: it in a few words; the table of faults shows them.
        """
        self.m.d.comb += Assert(condition, _word(what))

    def invariant(self, condition: Any, what: str) -> None:
        """Says how registers of the component hang together, so that induction starts from states
        that can be.

        It is proved like everything else; but a fault must be found from outside, without it.
        """
        if not self._faulty:
            self.check(condition, what)

    def implies(self, condition: Any, consequence: Any, what: str) -> None:
        """Says what must hold in every cycle in which a condition holds."""
        self.check(~Value.cast(condition).any() | Value.cast(consequence).any(), what)

    def past(self, value: Any, cycles: int = 1, *, name: str | None = None) -> Any:
        """Returns what a value was some cycles ago, and zero before the start.

        Call it outside of the module's branches, where its registers would stand still.
        """
        assert not self.m.domain._depth, "past within a branch"
        label = _word(name or f"past_{getattr(value, 'name', 'value')}")
        for i in range(cycles):
            late = Signal.like(value, name=f"{label}_{i}")
            self.m.d.sync += late.eq(value)
            value = late
        return value

    def pair(self, component: Any) -> list[tuple[Signal, Signal]]:
        """Puts another of the same component beside the first one.

        Returns the registers of both, in pairs; equal numbers in all of them are an equal state.
        Memories of both hold the same as long as they were asked and told the same, which is
        checked; so it is assumed that they answer the same.

        :param component: the second one, not yet elaborated; the specification drives its
            inputs.
        """
        twin = Fragment.get(component, None)
        self.m.submodules.twin = twin
        self.twin = component
        for mine, other in zip(_memories(self._inner), _memories(twin), strict=True):
            for port, copy in zip(mine._write_ports, other._write_ports, strict=True):
                told, same = (Cat(p._en, p._addr, p._data) for p in (port, copy))
                self.invariant(told == same, "memories are told the same")
            for port, copy in zip(mine._read_ports, other._read_ports, strict=True):
                self.invariant(Cat(port._en, port._addr) == Cat(copy._en, copy._addr), "memories are asked the same")
                self.assume(port._data == copy._data)
        return list(zip(_registers(self._inner), _registers(twin), strict=True))

    def registers(self) -> list[Signal]:
        """Returns all registers of the component, in order."""
        return _registers(self._inner)

    def register(self, name: str) -> Signal:
        """Returns a signal of the component, ``submodule.submodule.signal``; registers come first.

        Amaranth calls signals without a name of their own ``$signal``.

        :raises KeyError: if there is no such signal, or more than one.
        """
        *path, last = name.split(".")
        fragment = self._part(path)
        signals = [s for driven in fragment.statements.values() for s in driven._lhs_signals()]
        kept = [*fragment.statements["sync"]._lhs_signals()] if "sync" in fragment.statements else []
        for choice in (kept, signals):
            found = [s for s in choice if s.name == last]
            if len(found) == 1:
                return found[0]
        raise KeyError(f"{name}: {len(found)} such signals among {', '.join(sorted({s.name for s in signals}))}")

    def state(self, *names: str, machine: str = "fsm") -> Value:
        """Returns whether a state machine of the component is in one of these states.

        :param machine: its name, ``submodule.submodule.fsm``.
        """
        signal = self.register(f"{machine}_state")
        numbers = {signal.decoder(n).partition("/")[0]: n for n in range(1 << len(signal)) if _decodes(signal, n)}
        return signal.matches(*(numbers[name] for name in names))

    def cell(self, memory: str, address: Value) -> Value:
        """Returns the word that a memory of the component holds at an address.

        :param memory: ``submodule.submodule``.
        """
        (instance,) = _memories(self._part(memory.split(".")))
        word = Signal(Shape.cast(instance._data.shape).width, name=f"cell_{memory.replace('.', '_')}")
        instance.read_port(domain="comb", addr=Value.cast(address), data=word, en=Value.cast(1), transparent_for=())
        return word

    def answer(self, memory: str) -> Value:
        """Returns what the first read port of a memory of the component shows.

        :param memory: ``submodule.submodule``.
        """
        (instance,) = _memories(self._part(memory.split(".")))
        return Value.cast(instance._read_ports[0]._data)

    def _part(self, path: Iterable[str]) -> Any:
        fragment = self._inner
        for step in path:
            names = {name: child for child, name, _ in fragment.subfragments}
            if step not in names:
                raise KeyError(f"{step}: there are {', '.join(map(str, names))}")
            fragment = names[step]
        return fragment


def _memories(fragment: Any) -> list[MemoryInstance]:
    """All memories below a fragment, in order."""
    own = [fragment] if isinstance(fragment, MemoryInstance) else []
    return [*own, *(memory for child, _, _ in fragment.subfragments for memory in _memories(child))]


def _word(name: str) -> str:
    """A name that tools take for one word."""
    return name.replace(" ", "_").replace(".", "_").replace("$", "_")


def _decodes(signal: Signal, number: int) -> bool:
    """Whether a state machine has a state of this number."""
    try:
        signal.decoder(number)
    except KeyError:
        return False
    return True


def _registers(fragment: Any) -> list[Signal]:
    """All signals below a fragment that keep their values from cycle to cycle, in order."""
    own = [*fragment.statements["sync"]._lhs_signals()] if "sync" in fragment.statements else []
    return [*own, *(register for child, _, _ in fragment.subfragments for register in _registers(child))]


@dataclass(frozen=True)
class Proof:
    """A component, what is to be proved of it, and faults that the same specification must find."""

    name: str
    """What is proved, as a short name; unique."""
    claim: str
    """What is proved, in a sentence."""
    size: str
    """The parameters that it is proved for, in words; empty if there are none."""
    component: Callable[[], Any]
    specify: Callable[[Bench], None]
    faults: tuple[Change, ...]
    depth: int
    """Cycles of the induction, or of the bounded proof."""
    bounded: bool = False
    """The proof says nothing about later cycles than ``depth``."""
    fault_depth: int | None = None
    """Cycles behind the start in which faults are looked for; ``depth`` unless given."""
    map_memories: bool = False
    """Memories become registers; faster for a few words."""
    presat: bool = False
    """Look for contradictory assumptions first."""
    slow: bool = False
    """It takes more than a few seconds."""

    @property
    def method(self) -> str:
        """How it is proved, in a few words."""
        return f"{self.depth} cycles" if self.bounded else f"induction over {self.depth}"


@dataclass(frozen=True)
class Outcome:
    """What the solver said."""

    result: str
    """``proved``, ``broken`` (there is a counterexample) or ``undecided``."""
    check: str
    """The check that the counterexample breaks."""
    step: int
    """The cycle in which it does."""
    seconds: float


def run(proof: Proof, fault: Change | None = None) -> Outcome:
    """Decides about a proof, or looks for the counterexample that one of its faults must have.

    The outcome is kept under the digest of design, script and tools.

    :raises ProofError: if the tools fail.
    """
    with collector_paused():
        text = _design(proof, fault)
    bounded = proof.bounded or fault is not None
    depth = proof.depth if fault is None else proof.fault_depth or proof.depth
    script = _SCRIPT.format(
        mode="bmc" if bounded else "prove",
        depth=depth,
        timeout=_TIMEOUT,
        memories="memory_map -formal\n" if proof.map_memories else "",
        options="" if proof.presat else "--nopresat ",
    )
    tools = proof_tools()

    def build(directory: Path) -> None:
        outcome = _decide(text, script)
        if outcome.result == "undecided":
            raise _UndecidedError(outcome)
        (directory / "outcome.json").write_text(json.dumps(vars(outcome)))

    try:
        place = cached("proof", digest(text, script, tools.version, _FORM), build)
    except _UndecidedError as said:
        return said.outcome
    return Outcome(**json.loads((place / "outcome.json").read_text()))


class _UndecidedError(Exception):
    """What is not to be kept."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.result)
        self.outcome = outcome


def _design(proof: Proof, fault: Change | None) -> str:
    """Returns component and specification as RTLIL."""
    bench = Bench(proof.component(), fault)
    proof.specify(bench)
    text = rtlil.convert(Fragment.get(bench.m, None), name="top", ports=bench.ports(), emit_src=False)
    # Amaranth names every instance as a module of the user's; this one is the tools' own.
    return text.replace("cell \\$anyconst", "cell $anyconst")


def _decide(text: str, script: str) -> Outcome:
    tools = proof_tools()
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="dither-proof-") as folder:
        place = Path(folder)
        (place / "top.il").write_text(text)
        (place / "proof.sby").write_text(script)
        done = subprocess.run(
            [*tools.command, "-f", "proof.sby"],
            cwd=place,
            env=tools.environment,
            capture_output=True,
            text=True,
            check=False,
        )
    seconds = time.monotonic() - begun
    said = done.stdout + done.stderr
    results = {0: "proved", 2: "broken", 4: "undecided", 8: "undecided"}
    if done.returncode not in results:
        raise ProofError("\n".join(said.splitlines()[-20:]))
    failed = re.search(r"failed assertion top\.\S*?check_(\d+) at\s+step (\d+)", said)
    if results[done.returncode] != "broken":
        return Outcome(results[done.returncode], "", 0, round(seconds, 1))
    if failed is None:
        raise ProofError("\n".join(said.splitlines()[-40:]))
    named = re.search(rf'^  cell \$check \${failed[1]}\n    parameter \\FORMAT "(.*)"', text, re.MULTILINE)
    return Outcome("broken", named[1].replace("_", " ") if named else "", int(failed[2]), round(seconds, 1))
