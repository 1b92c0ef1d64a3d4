"""The engine: sequencer, units and memories, between two streams and a host port."""

from __future__ import annotations

from typing import Any, TypeVar

from amaranth.hdl import Cat, Const, Module, Mux, ResetInserter, Signal, Value
from amaranth.lib import data, wiring

from dither.arch.config import EngineConfig
from dither.arch.isa import INSTRUCTIONS, OPCODE_BITS, Memory
from dither.arch.streams import slots
from dither.arch.timing import MEMORY_LATENCY

from .base.interfaces import EnginePorts, instruction_layout
from .base.pipeline import delay_line
from .contract.contract import ContractUnit
from .contract.dither import DitherUnit
from .control.host import HostRegisters
from .control.sequencer import Sequencer, Unit
from .loss.loss import LossUnit
from .memory.memories import BankedMemory
from .memory.transfer import TransferUnit
from .memory.transpose import TransposeUnit
from .tables.scalar_tables import ScalarTables
from .update.probes import ParameterUnit
from .update.update import UpdateUnit

__all__ = ["Engine"]

_C = TypeVar("_C", bound=wiring.Component)
_MAX_LANES = 64
_OPCODES = {form.name: form.opcode for form in INSTRUCTIONS}
_PROBE_OPERANDS = next(form.sources for form in INSTRUCTIONS if form.name == "ACCUMULATE")
_SIGN_OPERANDS = next(form.sources for form in INSTRUCTIONS if form.name == "DITHER")
_STATE = {"master": Memory.MASTER, "gradient": Memory.GRADIENT, "moment1": Memory.MOMENT1, "moment2": Memory.MOMENT2}


class Engine(wiring.Component):
    """Executes programs of :mod:`dither.arch.isa` exactly as the golden machine does, in exactly
    the cycles that :mod:`dither.arch.timing` says.

    One instruction is at work at a time; its unit owns the memories until it is done, so the
    memories' ports are multiplexed by unit and need no arbitration. Units are far apart on an FPGA,
    so each has a register of its own for the reset, and each bank of a memory has its own for whose
    data it takes.

    Ports: :class:`~dither_hw.base.interfaces.EnginePorts`.

    :param config: geometry and numerics; at most 64 lanes.
    """

    def __init__(self, config: EngineConfig) -> None:
        if config.lanes > _MAX_LANES:
            raise ValueError(f"gateware takes up to {_MAX_LANES} lanes, not {config.lanes}")
        self.config = config
        super().__init__(EnginePorts(config))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        host = self._add(m, "host", HostRegisters(config))
        sequencer = self._add(m, "sequencer", Sequencer(local_learning=bool(config.local_learning)))
        transfer = self._add(m, "transfer", TransferUnit(config))
        contract = self._add(m, "contract", ContractUnit(config))
        loss = self._add(m, "loss", LossUnit(config))
        parameters = self._add(m, "parameters", ParameterUnit(config))
        update = self._add(m, "update", UpdateUnit(config))
        units: dict[Unit, Any] = {
            Unit.TRANSFER: transfer,
            Unit.CONTRACT: contract,
            Unit.LOSS: loss,
            Unit.PARAMETER: parameters,
            Unit.UPDATE: update,
        }
        clips: Value = contract.saturations
        if config.local_learning:
            units[Unit.DITHER] = dither = self._add(m, "dither", DitherUnit(config))
            units[Unit.TRANSPOSE] = self._add(m, "transpose", TransposeUnit(config))
            clips = clips | dither.saturations  # one of them is zero

        m.d.comb += [
            host.addr.eq(self.host_addr),
            host.write.eq(self.host_write),
            host.wdata.eq(self.host_wdata),
            self.host_rdata.eq(host.rdata),
            sequencer.start.eq(host.start),
            sequencer.entry.eq(host.entry),
            host.busy.eq(sequencer.busy),
            host.fault.eq(sequencer.fault),
            self.busy.eq(sequencer.busy),
            self.fault.eq(sequencer.fault),
            host.program_addr.eq(sequencer.program_addr),
            sequencer.program_data.eq(host.program_data),
            host.phase.eq(sequencer.phase),
            host.row_steps.eq(contract.row_steps),
            host.saturations_requantise.eq(clips),
            host.saturations_weight.eq(parameters.saturations),
            host.saturations_loss.eq(loss.saturations),
            host.saturations_update.eq(update.saturations),
        ]
        wiring.connect(m, wiring.flipped(self.input), transfer.input)
        wiring.connect(m, transfer.output, wiring.flipped(self.output))

        for unit, component in units.items():
            m.d.comb += component.start.eq(sequencer.unit_start[unit.value])
        m.d.comb += [
            sequencer.unit_done.eq(Cat(*(component.done for component in units.values())).any()),
            sequencer.waiting.eq(transfer.waiting),
            sequencer.result.eq(Mux(sequencer.unit[Unit.LOSS.value], loss.loss, transfer.result)),
        ]
        self._connect_fields(m, sequencer, units)
        self._connect_memories(m, sequencer, units)
        return m

    def _add(self, m: Module, name: str, component: _C) -> _C:
        """A submodule that forgets everything a cycle after a ``reset``, or takes care of that
        itself.
        """
        reset = Signal(name=f"{name}_reset_copy")
        m.d.sync += reset.eq(self.reset)
        own: Signal | None = getattr(component, "reset", None)
        m.submodules[name] = component if own is not None else ResetInserter(reset)(component)
        if own is not None:
            m.d.comb += own.eq(reset)
        return component

    def _connect_fields(self, m: Module, sequencer: Sequencer, units: dict[Unit, Any]) -> None:
        """Gives every unit its view of the instruction and its operands, in registers of its
        own.
        """
        instruction, operands = sequencer.instruction, sequencer.operands

        def near(value: Value, name: str) -> Signal:
            register = Signal(len(value), name=f"{name}_copy", reset_less=True)
            m.d.sync += register.eq(value)
            return register

        def fields(name: str) -> data.View:
            layout = instruction_layout(name)
            return data.View(layout, near(instruction[: layout.size], f"{name.lower()}_fields"))

        def operand(number: int, unit: str) -> Signal:
            return near(operands[number], f"{unit}_operand{number}")

        def opcode(unit: str) -> Signal:
            return near(instruction[:OPCODE_BITS], f"{unit}_opcode")

        transfer, parameters, update = units[Unit.TRANSFER], units[Unit.PARAMETER], units[Unit.UPDATE]
        m.d.comb += [
            transfer.opcode.eq(opcode("transfer")),
            transfer.fields.eq(fields("LOAD")),
            transfer.operand.eq(operand(0, "transfer")),
            units[Unit.CONTRACT].fields.eq(fields("CONTRACT")),
            *(index.eq(operand(i, "contract")) for i, index in enumerate(units[Unit.CONTRACT].index)),
            units[Unit.LOSS].fields.eq(fields("LOSS")),
            parameters.fields.eq(fields("PERTURB")),
            *(getattr(parameters, name).eq(operand(i, "parameters")) for i, name in enumerate(_PROBE_OPERANDS)),
            update.fields.eq(fields("UPDATE")),
            update.rate.eq(operand(0, "update")),
        ]
        m.d.sync += parameters.accumulate.eq(opcode("parameters") == _OPCODES["ACCUMULATE"])
        if self.config.local_learning:
            dither = units[Unit.DITHER]
            m.d.comb += [
                dither.fields.eq(fields("DITHER")),
                *(getattr(dither, name).eq(operand(i, "dither")) for i, name in enumerate(_SIGN_OPERANDS)),
                units[Unit.TRANSPOSE].fields.eq(fields("TRANSPOSE")),
            ]

    def _connect_memories(self, m: Module, sequencer: Sequencer, units: dict[Unit, Any]) -> None:
        """Memories, and their ports by the unit at work; what only one unit uses is wired
        straight.
        """
        config = self.config
        local = bool(config.local_learning)
        parts, part_bits = config.word_parts, config.part_bits
        cut = set(_STATE.values()) - ({Memory.GRADIENT} if local else set())  # memories whose words are parts
        names: dict[BankedMemory, str] = {}
        chosen: dict[BankedMemory, Signal] = {}
        places: dict[BankedMemory, Signal] = {}  # of the part that a unit reads
        parted: dict[BankedMemory, Value] = {}  # that part, when it comes
        transfer, contract, loss = units[Unit.TRANSFER], units[Unit.CONTRACT], units[Unit.LOSS]
        parameters, update = units[Unit.PARAMETER], units[Unit.UPDATE]
        # What LOAD writes, a cycle later: streams and memories are far apart.
        loads, loaded_place, loaded = Signal(), Signal.like(transfer.place), Signal(config.beat_width)
        m.d.sync += [
            loads.eq(transfer.write_enable),
            loaded_place.eq(transfer.place),
            loaded.eq(transfer.write_data),
        ]

        def owns(unit: Unit, name: str) -> Value:
            """A register of whether the unit at work is this one."""
            own = Signal(name=f"{name}_{unit.name.lower()}_copy")
            m.d.sync += own.eq(sequencer.unit[unit.value])
            return own

        def memory(name: str, depth: int, banks: int, bits: int, kind: Memory, *, enables: int = 1) -> BankedMemory:
            """A memory of whole words, whose parts have enables, or one whose words are parts."""
            whole = kind not in cut
            bank = BankedMemory(depth=depth, banks=banks, bits=bits, enables=enables)
            m.submodules[name], names[bank] = bank, name
            chosen[bank] = Signal(name=f"{name}_chosen")
            m.d.sync += chosen[bank].eq(transfer.memory == kind)
            with m.If(chosen[bank]):
                m.d.comb += bank.write.enable.eq(spread(loads << loaded_place[:part_bits] if whole else loads, bank))
            for port, addr in ((bank.write, loaded_place), (bank.read, transfer.place)):
                m.d.comb += port.addr.eq(addr >> part_bits if whole else addr)
            places[bank] = Signal(part_bits, name=f"{name}_place")
            return bank

        def spread(enable: Value, bank: BankedMemory) -> Value:
            """As many enables as a memory has, of fewer that stand for as many banks each."""
            return Cat(bit.replicate(len(bank.write.enable) // len(enable)) for bit in enable)

        def reader(bank: BankedMemory, unit: Unit, port: Any) -> None:
            """Lets a unit read words, or parts of whole words, whose addresses are places."""
            partly = len(port.data) < len(bank.read.data)
            with m.If(owns(unit, f"{names[bank]}_read")):
                m.d.comb += bank.read.addr.eq(port.addr >> part_bits if partly else port.addr)
                m.d.comb += places[bank].eq(port.addr)
            m.d.comb += port.data.eq(parted[bank] if partly else bank.read.data)

        def writer(bank: BankedMemory, unit: Unit, port: Any) -> None:
            """Lets a unit write words, or parts of whole words."""
            given = len(port.data) // bank.bits
            partly = len(port.enable) == 1 and given < bank.banks
            enable = port.enable << port.addr[:part_bits] if partly else port.enable
            with m.If(owns(unit, f"{names[bank]}_write")):
                m.d.comb += [
                    bank.write.enable.eq(spread(enable, bank)),
                    bank.write.addr.eq(port.addr >> part_bits if partly else port.addr),
                ]
            for i in range(bank.banks):
                with m.If(owns(unit, f"{names[bank]}{i}")):
                    m.d.comb += bank.part(bank.write.data, i).eq(bank.part(port.data, i % given))

        activation = memory(
            "activation",
            config.activation_depth,
            config.lanes,
            config.width,
            Memory.ACTIVATION,
            enables=config.lanes if local else parts,
        )
        if local:
            # The loss unit writes one number into one lane. Of it and the transfer unit, whoever is
            # idle gives zero.
            beat = loaded[: activation.bits * config.part_lanes].replicate(parts)
            m.d.comb += activation.write.data.eq(beat | loss.result.data.replicate(config.lanes))
            with m.If(owns(Unit.LOSS, "activation_write")):
                m.d.comb += [
                    activation.write.enable.eq(loss.result.enable),
                    activation.write.addr.eq(loss.result.addr),
                ]
        else:
            m.d.comb += activation.write.data.eq(loaded[: activation.bits * config.part_lanes].replicate(parts))
        reader(activation, Unit.CONTRACT, contract.activation)
        reader(activation, Unit.LOSS, loss.activation)
        writer(activation, Unit.CONTRACT, contract.result)
        if local:
            reader(activation, Unit.DITHER, units[Unit.DITHER].activation)
            writer(activation, Unit.DITHER, units[Unit.DITHER].result)

        depth, rows, width, pitch = config.parameter_depth, config.rows, config.width, slots(config, Memory.WEIGHT)[2]
        weight = memory("weight", config.weight_depth, rows, width, Memory.WEIGHT, enables=parts)
        part = Cat(loaded[i * pitch : i * pitch + width] for i in range(config.part_rows))
        m.d.comb += weight.write.data.eq(part.replicate(parts))
        reader(weight, Unit.CONTRACT, contract.weight)
        writer(weight, Unit.PARAMETER, parameters.weight_write)
        if local:
            reader(weight, Unit.TRANSPOSE, units[Unit.TRANSPOSE].weight)
            writer(weight, Unit.TRANSPOSE, units[Unit.TRANSPOSE].result)

        state = {
            name: memory(name, depth * parts, config.part_rows, slots(config, kind)[1], kind)
            if kind in cut
            else memory(name, depth, rows, slots(config, kind)[1], kind, enables=parts)
            for name, kind in _STATE.items()
        }
        for name, bank in state.items():
            width = bank.bits * config.part_rows
            if bank.banks > config.part_rows:
                arrived = delay_line(m, places[bank], MEMORY_LATENCY, f"{name}_place")[-1]
                parted[bank] = bank.read.data.word_select(arrived, width)
            m.d.comb += bank.write.data.eq(loaded[:width].replicate(bank.banks // config.part_rows))
            reader(bank, Unit.UPDATE, getattr(update, name))
            writer(bank, Unit.UPDATE, getattr(update, f"{name}_write"))
        reader(state["master"], Unit.PARAMETER, parameters.master)
        reader(state["gradient"], Unit.PARAMETER, parameters.gradient)
        writer(state["gradient"], Unit.PARAMETER, parameters.gradient_write)
        if local:
            reader(state["gradient"], Unit.CONTRACT, contract.gradient)
            writer(state["gradient"], Unit.CONTRACT, contract.gradient_write)

        # What STORE sends is registered at its bank, then put together: with a register between
        # states, which are at the edge of the chip, and the others.
        near_state, others = (
            Signal(config.beat_width, name=name, reset_less=True) for name in ("stored_state", "stored")
        )
        gathered: dict[Any, Value] = {"state": Const(0, 1), "others": Const(0, 1)}
        stores = Signal()
        m.d.sync += stores.eq(transfer.stores)
        for bank in (activation, weight, *state.values()):
            together = config.part_lanes if bank is activation else config.part_rows
            for first in range(0, bank.banks, together):
                part = []
                for i in range(first, first + together):
                    wanted = Signal(name=f"{names[bank]}{i}_stored_copy")
                    due = transfer.place[:part_bits] == first // together if bank.banks > together else 1
                    m.d.sync += wanted.eq(stores & chosen[bank] & due)
                    value = Signal(bank.bits, name=f"{names[bank]}{i}_stored", reset_less=True)
                    m.d.sync += value.eq(bank.part(bank.read.data, i) & wanted.replicate(bank.bits))
                    part.append(_extend(value, pitch) if bank is weight else value)
                gathered["state" if bank in state.values() else "others"] |= Cat(*part)
        m.d.sync += [near_state.eq(gathered["state"]), others.eq(gathered["others"])]
        m.d.sync += transfer.read_data.eq(near_state | others)
        self._connect_tables(m, transfer, contract, loss, update)

    def _connect_tables(
        self, m: Module, transfer: TransferUnit, contract: ContractUnit, loss: LossUnit, update: UpdateUnit
    ) -> None:
        """The tables' write ports, and who looks up in the scalar ones."""
        m.submodules.scalar_tables = scalar_tables = ScalarTables(self.config)
        wiring.connect(m, loss.scalar, scalar_tables.loss)
        wiring.connect(m, update.scalar, scalar_tables.update)
        loads = [(scalar_tables.load, Memory.SCALAR_TABLE)]
        if self.config.activation_tables:
            loads.append((contract.table, Memory.ACTIVATION_TABLE))
        for port, kind in loads:
            entry = Cat(port.value, port.slope)
            m.d.comb += [
                port.enable.eq(transfer.write_enable & (transfer.memory == kind)),
                port.addr.eq(transfer.place),
                entry.eq(transfer.write_data),
            ]


def _extend(value: Value, width: int) -> Value:
    """A signed value in a slot of so many bits."""
    return Cat(value, value[-1].replicate(width - len(value)))
