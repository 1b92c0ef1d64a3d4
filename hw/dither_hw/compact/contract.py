"""CONTRACT's data path in a compact engine: address registers, lanes, one requantiser for all of
them.
"""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from dither.arch.config import EngineConfig
from dither.arch.timing import REQUANTISER_LATENCY

from ..base.pipeline import delay_line
from ..contract.requantiser import Requantiser
from .mac import MacChain

__all__ = ["BIAS_OFFSET", "ContractDatapath", "Steps"]

BIAS_OFFSET = 5
"""Where the fields behind CONTRACT's single bits begin within the instruction's 16-bit words."""

Steps = data.StructLayout(
    {
        "clear": 1,
        "weight": 1,
        "input": 1,
        "weight_step": 1,
        "input_step": 1,
        "bias": 1,
        "bias_raw": 1,
        "output": 1,
        "term": 1,
        "last_term": 1,
        "bias_term": 1,
        "drain": 1,
        "flush": 1,
        "shift_low": 1,
        "shift_high": 1,
        "has_bias": 1,
    }
)
"""What the sequencer has the data path do with the word of its memory in this cycle.

``clear``: all addresses are 0. ``weight``, ``input``, ``bias``, ``output``: add the word to that
address, to the bias' from :data:`BIAS_OFFSET` on unless ``bias_raw``. ``weight_step``,
``input_step``: take the word as what is added after each term. ``term``: multiply, and add the
steps unless ``last_term``. ``bias_term``: multiply the bias, if there is one, by the constant at
the word from :data:`BIAS_OFFSET` on. ``drain``: requantise all lanes and write them; ``flush``:
forget them. ``shift_low``, ``shift_high``, ``has_bias``: take the shift's lower bits, its upper
bits and ReLU, and whether there is a bias.
"""


class ContractDatapath(wiring.Component):
    """Executes what the sequencer's program makes of CONTRACT.

    A term in a cycle, each for all lanes. A drain takes L cycles in the requantiser and writes its
    word lane by lane. It may be ordered four cycles behind the last term of its tile, and the next
    tile may begin L - 2 cycles behind the order.

    Resources on iCE40UP for 8 lanes: 8 SB_MAC16, 570 logic cells, of which the lanes take 160 and
    the requantiser 230.

    Attributes
    ----------
    steps : In(Steps)
        One at a time.
    word : In(16)
        What the sequencer read.
    weight_addr, activation_addr : Out
        Latency 1 to ``weight`` and ``activation``. Between terms they show the address registers,
        for other uses.
    weight, activation : In(16), In(16 * L)
    result_lane : Out(range(L)), result_enable : Out(1), result_addr, result : Out
        Writes of one number.
    row : Out(1)
        A term other than a bias was issued.
    clipped : Out(1)
        The number written was clipped.
    idle : Out(1)
        Nothing is left to be written.

    :param config: the engine.
    """

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        self.weight_bits = ceil_log2(config.parameter_depth)
        self.activation_bits = ceil_log2(config.activation_depth)
        super().__init__(
            {
                "steps": In(Steps),
                "word": In(16),
                "weight_addr": Out(self.weight_bits),
                "activation_addr": Out(self.activation_bits),
                "output_addr": Out(self.activation_bits),
                "weight": In(config.width),
                "activation": In(config.lanes * config.width),
                "result_enable": Out(1),
                "result_lane": Out(range(config.lanes)),
                "result_addr": Out(self.activation_bits),
                "result": Out(config.width),
                "row": Out(1),
                "clipped": Out(1),
                "idle": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        steps, word = self.steps, self.word
        w, b = Signal(self.weight_bits), Signal(self.weight_bits)
        x, y = Signal(self.activation_bits), Signal(self.activation_bits)
        w_step, x_step = Signal.like(w), Signal.like(x)
        far = word[BIAS_OFFSET:]

        with m.If(steps.weight_step):
            m.d.sync += w_step.eq(word)
        with m.If(steps.input_step):
            m.d.sync += x_step.eq(word)
        goes_on = steps.term & ~steps.last_term
        with m.If(steps.weight | goes_on):
            m.d.sync += w.eq(w + Mux(steps.term, w_step, word))
        with m.If(steps.input | goes_on):
            m.d.sync += x.eq(x + Mux(steps.term, x_step, word))
        with m.If(steps.bias):
            m.d.sync += b.eq(b + Mux(steps.bias_raw, word, far))
        with m.If(steps.output):
            m.d.sync += y.eq(y + word)
        with m.If(steps.clear):
            m.d.sync += [register.eq(0) for register in (w, b, x, y)]

        shift, relu, has_bias = Signal(6), Signal(), Signal()
        with m.If(steps.shift_low):
            m.d.sync += shift[:3].eq(word[13:])
        with m.If(steps.shift_high):
            m.d.sync += [shift[3:].eq(word[:3]), relu.eq(word[3])]
        with m.If(steps.has_bias):
            m.d.sync += has_bias.eq(word[4])

        issued = Signal()
        m.d.sync += issued.eq(steps.term | (steps.bias_term & has_bias))
        m.submodules.chain = chain = MacChain(self.config)
        m.d.comb += [
            self.weight_addr.eq(Mux(steps.bias_term, b, w)),
            self.activation_addr.eq(Mux(steps.bias_term, far, x)),
            self.output_addr.eq(y),
            self.row.eq(steps.term),
            chain.weight.eq(self.weight),
            chain.activation.eq(self.activation),
            chain.accumulate.eq(issued),
        ]
        self._drain(m, chain, y, shift, relu)
        return m

    def _drain(self, m: Module, chain: MacChain, y: Signal, shift: Signal, relu: Signal) -> None:
        """From the chain through the requantiser to the write port."""
        steps, lanes = self.steps, self.config.lanes
        shifting, writing = Signal(), Signal()
        lane = Signal(range(lanes))
        last = lane == lanes - 1
        with m.If(steps.drain | steps.flush):
            m.d.sync += [shifting.eq(1), writing.eq(steps.drain), lane.eq(0)]
        with m.Elif(shifting):
            m.d.sync += [shifting.eq(~last), lane.eq(Mux(last, 0, lane + 1))]
        with m.If(steps.drain):
            m.d.sync += self.result_addr.eq(y)
        m.d.comb += [chain.shift.eq(shifting), chain.lane.eq(lane), chain.clear.eq(shifting & last)]

        m.submodules.requantiser = requantiser = Requantiser(
            width=self.config.accumulator_width, output=self.config.width
        )
        stages = delay_line(m, shifting & writing, REQUANTISER_LATENCY, "stage")
        written = stages.pop()
        m.d.comb += [
            requantiser.x.eq(chain.total),
            requantiser.stages.eq(Cat(*stages)),
            requantiser.shift.eq(shift),
            requantiser.relu.eq(relu),
            self.result.eq(requantiser.y),
            self.result_enable.eq(written),
            self.clipped.eq(written & requantiser.clipped),
            self.idle.eq(~Cat(shifting, *stages[1:], written).any()),
        ]
        with m.If(written):
            m.d.sync += self.result_lane.eq(Mux(self.result_lane == lanes - 1, 0, self.result_lane + 1))
