"""What nextpnr has placed and routed, as Verilog that simulates: a board from its pins on.

The netlist is the one that the bitstream is made of: LUTs and flip-flops in the cells in which they
stand, with the inputs that routing gave them. Only what is analogue has no model of its own: a PLL
hands its clock on as it is, and is locked.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from typing import Any

from dither.arch.device import DeviceError
from dither.boards import Board
from dither_hw.board.board import create_platform

from .fabrics import CELL_MODELS, ECP5
from .netlist import cell_models

__all__ = ["emit_placed"]

Cell = Mapping[str, Any]

_VECTORS = {"ICESTORM_RAM": "SB_RAM40_4K", "ICESTORM_DSP": "SB_MAC16", "ICESTORM_SPRAM": "SB_SPRAM256KA"}
"""Cells of an iCE40 whose ports nextpnr has cut into bits, and what they are called before."""
_EDGES = ("NEG_CLK_R", "NEG_CLK_W")
_HIGH = {"CEN", "CE", "RCLKE", "WCLKE"}
"""Inputs of an iCE40's cells that are high where nothing is connected; all others are low."""
_LOW = {"LSR", "FCI"}
"""Inputs of an ECP5's cells that are low where nothing is connected; all others are high."""
_CHAIN = re.compile(r"SRI[AB]\d+")
"""Ports of chains of multipliers, which nothing uses."""
_BIT = re.compile(r"(?P<port>\w+?)_(?P<bit>\d+)")
_INDICATORS = ("led", "rgb_led")
"""Resources that show ``busy`` and ``error``, those of number 0 and 1."""


def emit_placed(board: Board, netlist: Mapping[str, Any]) -> str:
    """Returns the Verilog text of a placed board as module ``board``, with its cells' models.

    Its ports are those of a board's core, for :class:`~dither_sim.board.BoardSimulation`: the clock
    goes to the board's own clock pin, the line to the UART's. What the LEDs show are the ports
    ``busy`` and ``error``. Nothing on the chip shows ``session``, which is low, and nothing resets
    it but power.

    :param board: gives the names of pins.
    :param netlist: from :func:`dither_hw.build.placed.read_placed`.
    :raises DeviceError: if a cell, or the way in which it is used, has no model here.
    """
    top = _Top(netlist)
    wires = "".join(f"  wire n{net};\n" for net in sorted(top.nets))
    body = "".join(f"  {statement}\n" for statement in top.statements())
    ports = ", ".join(f"{'input' if name in top.inputs else 'output'} \\{name} " for name in netlist["ports"])
    models = cell_models() if top.ice40 else CELL_MODELS[ECP5].read_text()
    return f"{models}\nmodule placed ({ports});\n{wires}{body}endmodule\n{_wrapper(board, netlist, top.inputs)}"


class _Top:
    """A placed netlist as it is being written: which nets there are, and what drives them."""

    def __init__(self, netlist: Mapping[str, Any]) -> None:
        self._cells: dict[str, Cell] = netlist["cells"]
        self._pins = {net: name for name, port in netlist["ports"].items() for net in port["bits"]}
        self.ice40 = any(cell["type"].startswith("ICESTORM_") for cell in self._cells.values())
        used = (bit for cell in self._cells.values() for bits in cell["connections"].values() for bit in bits)
        self._unused = itertools.count(1 + max(used))
        self.nets: set[int] = set()
        self.driven: set[int] = set()
        self.inputs = {
            self._pins[net]
            for cell in self._cells.values()
            if cell["type"] in _PINS and not _drives(cell)
            for net in cell["connections"][_PINS[cell["type"]]]
        }

    def statements(self) -> list[str]:
        """Returns instances and assignments, one for each cell.

        :raises DeviceError: if a cell has no model, or an input is connected to nothing that
            drives it.
        """
        made = [statement for name, cell in self._cells.items() for statement in self._cell(name, cell)]
        if loose := self.nets - self.driven:
            raise DeviceError(f"{len(loose)} nets of the placed netlist have no driver, such as {min(loose)}")
        return made

    def _cell(self, name: str, cell: Cell) -> Iterator[str]:
        kind = cell["type"]
        if kind in _PINS:
            pin = f"\\{self._pins[cell['connections'][_PINS[kind]][0]]} "
            if _drives(cell):
                yield f"assign {pin} = {self.net(cell, _DATA[kind][0])};"
            elif self._bits(cell, _DATA[kind][1]):
                yield f"assign {self.net(cell, _DATA[kind][1])} = {pin};"
        elif kind in _PLLS:
            reference, output, lock = _PLLS[kind]
            yield f"assign {self.net(cell, output)} = {self._reference(cell, reference)};"
            if self._bits(cell, lock):
                yield f"assign {self.net(cell, lock)} = 1'b1;"
        elif kind in _BUFFERS:
            source, sink = _BUFFERS[kind]
            driver = self.net(cell, source) if self._bits(cell, source) else self._pll()
            yield f"assign {self.net(cell, sink)} = {driver};"
        else:
            yield self._instance(name, cell)

    def _bits(self, cell: Cell, port: str) -> list[int]:
        bits: list[int] = cell["connections"].get(port, [])
        return bits

    def net(self, cell: Cell, port: str) -> str:
        """Returns what stands at a port: a net, or the constant that it has without one."""
        output = cell["port_directions"][port] != "input"
        if not (bits := self._bits(cell, port)):
            return "" if output else f"1'b{int(port in _HIGH if self.ice40 else port not in _LOW)}"
        self.nets.update(bits)
        if output:
            self.driven.update(bits)
        return f"n{bits[0]}"

    def _pll(self) -> str:
        """Returns the clock that a global buffer without an input takes: the one PLL's."""
        found = [cell for cell in self._cells.values() if cell["type"] in _PLLS]
        if len(found) != 1:
            raise DeviceError(f"a global buffer has no input, and there are {len(found)} PLLs")
        return self._reference(found[0], _PLLS[found[0]["type"]][0])

    def _reference(self, pll: Cell, port: str) -> str:
        """Returns the clock of a PLL: a net, or the pin on the same site as its pad."""
        if self._bits(pll, port):
            return self.net(pll, port)
        site = pll["attributes"].get("BEL_PAD_INPUT")
        for cell in self._cells.values():
            if cell["type"] in _PINS and cell["attributes"]["NEXTPNR_BEL"] == site:
                return f"\\{self._pins[cell['connections'][_PINS[cell['type']]][0]]} "
        raise DeviceError("the placed netlist has a PLL without a clock")

    def _instance(self, name: str, cell: Cell) -> str:
        kind, parameters = cell["type"], dict(cell["parameters"])
        ports: dict[str, str] = {}
        if kind in _VECTORS:
            if any(int(parameters.pop(edge, "0"), 2) for edge in _EDGES):
                raise DeviceError(f"{name}: there is no model of a falling clock edge")
            vectors: dict[str, dict[int, str]] = {}
            for port in cell["port_directions"]:
                if match := _BIT.fullmatch(port):
                    vectors.setdefault(match["port"], {})[int(match["bit"])] = port
                else:
                    ports[port] = self.net(cell, port)
            for vector, bits in vectors.items():
                ports[vector] = self._vector(cell, [bits[i] for i in sorted(bits, reverse=True)])
            kind = _VECTORS[kind]
        elif kind in _SCALARS:
            _join_initial_values(parameters)
            for port in cell["port_directions"]:
                if not _CHAIN.fullmatch(port):
                    ports[port] = self._chosen(cell, port, parameters.pop(f"{port}MUX", port).strip())
            parameters = {key: value for key, value in parameters.items() if not key.endswith("MUX")}
            if kind == "TRELLIS_FF":
                # A flip-flop that is always enabled has no such port at all.
                ports.setdefault("CE", "1'b1")
            if self._bits(cell, "FXA"):
                parameters["WIDE"] = "1"
        else:
            raise DeviceError(f"{name}: there is no model of {kind}")
        given = ", ".join(f".{key}({_value(value)})" for key, value in parameters.items())
        connected = ", ".join(f".{port}({net})" for port, net in ports.items())
        return f"{kind} #({given}) \\{name} ({connected});"

    def _chosen(self, cell: Cell, port: str, choice: str) -> str:
        """Returns what stands at a port whose multiplexer makes a constant or turns it over."""
        if choice in ("0", "1"):
            return f"1'b{choice}"
        net = self.net(cell, port)
        return f"~{net}" if choice == "INV" and net else net

    def _vector(self, cell: Cell, ports: list[str]) -> str:
        """Returns a concatenation of bits, the highest first; outputs without a net get one."""
        return f"{{{', '.join(self.net(cell, port) or self._spare() for port in ports)}}}"

    def _spare(self) -> str:
        """Returns a net for an output that goes nowhere."""
        spare = next(self._unused)
        self.nets.add(spare)
        self.driven.add(spare)
        return f"n{spare}"


_PINS = {"SB_IO": "PACKAGE_PIN", "TRELLIS_IO": "B"}
_DATA = {"SB_IO": ("D_OUT_0", "D_IN_0"), "TRELLIS_IO": ("I", "O")}
"""Ports of pins for what goes out, and for what comes in."""
_PLLS = {"ICESTORM_PLL": ("REFERENCECLK", "PLLOUT_A", "LOCK"), "EHXPLLL": ("CLKI", "CLKOP", "LOCK")}
_BUFFERS = {"SB_GB": ("USER_SIGNAL_TO_GLOBAL_BUFFER", "GLOBAL_BUFFER_OUTPUT"), "DCCA": ("CLKI", "CLKO")}
_SCALARS = {"ICESTORM_LC", "TRELLIS_COMB", "TRELLIS_FF", "TRELLIS_RAMW", "DP16KD", "MULT18X18D"}


def _join_initial_values(parameters: dict[str, str]) -> None:
    """Makes one parameter of all that give a block RAM its first words."""
    names = [f"INITVAL_{i:02X}" for i in range(64)]
    if names[0] in parameters:
        parameters["INITVAL"] = "".join(parameters.pop(name) for name in reversed(names))


def _drives(cell: Cell) -> bool:
    """Returns whether a pin is an output.

    :raises DeviceError: if it is both, or has registers.
    """
    if cell["type"] == "SB_IO":
        kind = int(cell["parameters"]["PIN_TYPE"], 2) & 0b111111
        if kind in (0b000001, 0b101001):  # an input; an output that is enabled
            return kind == 0b101001
        raise DeviceError(f"there is no model of a pin of type {kind:06b}")
    direction = cell["parameters"]["DIR"].strip()
    if direction not in ("INPUT", "OUTPUT"):
        raise DeviceError(f"there is no model of a pin of direction {direction}")
    return bool(direction == "OUTPUT")


def _value(text: str) -> str:
    """Returns a parameter's value in Verilog.

    Yosys' JSON has numbers as bits, and those that do not matter as letters; a bitstream has zeros
    there.
    """
    if re.fullmatch("[01xz]+", text):
        return f"{len(text)}'b{re.sub('[xz]', '0', text)}"
    return f'"{text.rstrip()}"'


def _wrapper(board: Board, netlist: Mapping[str, Any], inputs: set[str]) -> str:
    """Returns the module ``board`` around the chip; pins that nobody uses rest."""
    platform = create_platform(board)
    clock = f"{board.clock.resource or platform.default_clk}_0__io"
    uart = f"{board.uart.resource}_{board.uart.number}"
    given = {clock: "clk", f"{uart}__rx__io": "rx", f"{uart}__tx__io": "tx"}
    shown = {"0": "1'b0", "1": "1'b0"}
    for name in netlist["ports"]:
        if name in given:
            continue
        resource, number = name.split("__")[0].rsplit("_", 1)
        rests = int(_inverted(platform.lookup(resource, int(number))))
        if resource in _INDICATORS:
            given[name] = f"led{number}"
            shown[number] = f"led{number} ^ 1'b{rests}"
        else:
            given[name] = f"1'b{rests}" if name in inputs else ""
    connections = ", ".join(f".\\{name} ({given[name]})" for name in netlist["ports"])
    return (
        "module board (input clk, rst, reset, rx, output tx, busy, error, session);\n  wire led0, led1;\n"
        f"  placed placed ({connections});\n"
        f"  assign busy = {shown['0']};\n  assign error = {shown['1']};\n  assign session = 1'b0;\nendmodule\n"
    )


def _inverted(resource: Any) -> bool:
    """Returns whether a resource, or the first of its parts, is active while its pin is low."""
    first = resource.ios[0]
    return bool(first.invert) if hasattr(first, "invert") else _inverted(first)
