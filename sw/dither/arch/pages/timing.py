"""The page of latencies and cycle costs."""

from __future__ import annotations

from .. import timing
from ..config import PRESETS
from ..family import COMPACT
from ..generator import ROUNDS, ROUNDS_PER_INJECTION
from ..isa import INSTRUCTIONS, LOCAL_INSTRUCTIONS
from .markdown import attribute_docs, document, table

__all__ = ["EXECUTION", "term_path", "timing_page"]

_NEST = "(n_k0*n_k1*n_k2"
_TILES = "n_o0*n_o1*n_o2*n_o3"

EXECUTION: dict[str, str] = {
    "PULL": "P + 1",
    "EMIT": "P + 3",
    "LOAD": "count * P + 2",
    "STORE": "STORE_INTERVAL * count * P + 1",
    "CONTRACT": f"{_TILES} * ({_NEST} + bias) * c + idle) - idle + last_rows * d + ISSUE_LATENCY + MEMORY_LATENCY "
    "+ BROADCAST_LATENCY + OPERAND_LATENCY + MULTIPLIER_LATENCY + REQUANTISER_LATENCY + t + 3",
    "LOSS": "1 + L * (1 + 2 * C) + LOSS_SQUARE_STAGE + f if SQUARED_ERROR else "
    "1 + L * (1 + s) + 1 + s + L * (LOSS_PAUSE + C) + LOSS_EXPONENTIAL_STAGE + INTERPOLATOR_LATENCY + "
    "LOSS_RESULT_CYCLES if ERROR else 1 + L * (1 + s) + 1 + C + LOSS_LOGARITHM_STAGE + f",
    "UPDATE": "1 + UPDATE_INTERVAL * (R * count - 1) + UPDATE_LATENCY + 1",
    "CORRELATE": f"{_TILES} * (R + {_NEST}) + idle) - idle + ISSUE_LATENCY + MEMORY_LATENCY + OPERAND_LATENCY + "
    "MULTIPLIER_LATENCY + a + 2",
    "DITHER": "2 + 2 * G + max(DITHER_ALIGNMENT, G + L - 64) + count + MEMORY_LATENCY + 3",
    "TRANSPOSE": "1 + ceil(inner / R) * ceil(columns / R) * R + MEMORY_LATENCY + columns - (ceil(columns / R) - 1) * R",
}
"""Cycles of execution by instruction, as expressions of Python; what their letters mean stands
below the table."""


def term_path() -> list[tuple[int, str]]:
    """Returns the path of one term through CONTRACT.

    Each entry is a cycle, counted from the unit's start, and what is there then.
    """
    weight = timing.ISSUE_LATENCY + timing.MEMORY_LATENCY
    broadcast = weight + timing.BROADCAST_LATENCY
    operands = broadcast + timing.OPERAND_LATENCY
    product = operands + timing.MULTIPLIER_LATENCY
    return [
        (timing.ISSUE_LATENCY, "address of the weight word"),
        (broadcast - timing.MEMORY_LATENCY, "address of the activation word"),
        (weight, "weight word"),
        (broadcast - 1, "weights, in one register for all lanes"),
        (broadcast, "weights, in a register of each interpolator group; activation word"),
        (operands, "both, in registers of each lane"),
        (product, "products"),
        (product + 1, "sums"),
        (product + 2, "copy of the sums, if the tile is complete"),
        (product + 2 + timing.REQUANTISER_LATENCY, "first row, rounded and clipped"),
    ]


def timing_page() -> str:
    """Returns the text of ``docs/timing.md``."""
    meanings = attribute_docs(timing)
    constants = [
        (f"`{name}`", getattr(timing, name), meanings[name])
        for name in sorted(meanings)
        if isinstance(getattr(timing, name), int)
    ]
    fetch = [
        (
            form.name,
            timing.fetch_cycles(form),
            "–" if form.name in LOCAL_INSTRUCTIONS else timing.fetch_cycles(form, COMPACT),
        )
        for form in INSTRUCTIONS
    ]
    generator = [(rounds, timing.generator_cycles(rounds)) for rounds in (1, 2, 4)]
    shared = sorted({config.lanes_per_table for config in PRESETS.values() if config.activation_tables})
    return document(
        "Timing",
        "`dither.arch.timing`",
        "No result depends on anything on this page. It is for whoever builds gateware, predicts cycles, or writes "
        "programs by hand. All times are in cycles. R is the number of rows, L the number of lanes, P is `word_parts`.",
        "Instructions never overlap. Each costs its fetch, which is charged to `cycles_fetch`, and its execution, "
        "which is charged to the phase that the [instruction set](isa.md) names. A cycle in which an instruction can "
        "do nothing but wait for a stream is charged to `cycles_wait` and comes on top. Nothing depends on data, so "
        "all counters of cycles but `cycles_wait` can be predicted exactly.",
        "## Constants",
        table(["name", "cycles", "meaning"], constants),
        "## Fetch",
        "An instruction's fetch takes the program memory's latency, a cycle for each of its words (at least for "
        "`SHORTEST_FETCH` of them), a cycle for each register that it reads and two more if there are any, a cycle to "
        "decode, and one on the way to a unit. In a compact engine everything that is not execution is charged to "
        "fetch.",
        table(["instruction", "fetch", "fetch, compact engine"], fetch),
        "## Execution",
        "Instructions that only control (HALT, LOOP, END, CALL, RETURN, SET, ADD, SUBTRACT) execute in one cycle. The "
        "others take:",
        table(["instruction", "cycles"], [(name, f"`{formula}`") for name, formula in EXECUTION.items()]),
        "- c, cycles of a term: 1 with operand WEIGHT, else 2.\n- d, *drain cycles per row*: `lanes_per_table` with "
        f"activation TABLE, else 1. With the engines that have names it is {' or '.join(map(str, shared))} then.\n- t: "
        "`INTERPOLATOR_LATENCY + 1` with activation TABLE, else 0.\n- C, outputs of the network, LOSS's `count`; s: "
        "`max(C, LOSS_SHORTEST_PASS)`.\n- f: `1 + LOSS_FINISH_CYCLES`, in mode DIFFER `LOSS_FINISH_CYCLES + "
        "LOSS_RESULT_CYCLES`.\n- a, levels of CORRELATE's tree of adders: `ceil(log2(lanes_per_table)) + ceil(log2(L "
        "/ lanes_per_table))`.\n- G, cycles from one block of the generator to the next.",
        table(["`rounds_per_cycle`", "G"], generator),
        f"A block has {ROUNDS} rounds, and a key injection after every {ROUNDS_PER_INJECTION} of them takes a cycle.",
        "PERTURB and ACCUMULATE take `1 + inner * tiles * P + w` cycles where xi takes no random bits; w is "
        "`MEMORY_LATENCY + 3` for PERTURB and `MEMORY_LATENCY + 2` for ACCUMULATE. With random bits they take "
        "`1 + 2 + G + (sum over all blocks but the last: max(G, items)) + (items of the last block) + w`, and "
        "`PROBE_PRODUCT_CYCLES` more with UNIFORM and GAUSSIAN. An item is the R/P parameters of a part of a word, or, "
        "with UNIFORM and GAUSSIAN, one parameter; it belongs to the block that has the first of its bits.",
        "A compact engine executes other steps; `dither.arch.compact.timing` counts them.",
        "## The path of a term",
        "Cycles after CONTRACT's start at which its first term comes to each place; operand WEIGHT:",
        table(["cycle", "what is there"], term_path()),
    )
