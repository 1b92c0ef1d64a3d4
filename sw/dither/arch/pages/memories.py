"""The page of memories and streams."""

from __future__ import annotations

from ..config import PRESETS
from ..family import FULL
from ..isa import GRADIENT_BITS, MASTER_BITS, WORD_BITS, Memory
from ..streams import SCALAR_TABLE_BITS, beats_per_word
from ..tables import ScalarTable
from ..timing import BLOCK_RAM_LATENCY, MEMORY_LATENCY, WRITE_LATENCY
from .markdown import document, table

__all__ = ["READERS", "SLOTS", "WRITERS", "memory_page"]

SLOTS: dict[Memory | None, tuple[str, str, str]] = {
    None: ("1", str(WORD_BITS), str(WORD_BITS)),
    Memory.ACTIVATION: ("L", "W", "W"),
    Memory.MASTER: ("R", str(MASTER_BITS), str(MASTER_BITS)),
    Memory.GRADIENT: ("R", str(GRADIENT_BITS), str(GRADIENT_BITS)),
    Memory.MOMENT1: ("R", str(MASTER_BITS), str(MASTER_BITS)),
    Memory.MOMENT2: ("R", str(MASTER_BITS), str(MASTER_BITS)),
    Memory.WEIGHT: ("R", str(MASTER_BITS), str(MASTER_BITS)),
    Memory.ACTIVATION_TABLE: ("2", "W", "W"),
    Memory.SCALAR_TABLE: ("2", str(SCALAR_TABLE_BITS), str(SCALAR_TABLE_BITS)),
}
"""Slots of a word in a stream, bits of a slot's value, distance of slots; ``None``: a scalar."""

READERS: dict[Memory, tuple[str, ...]] = {
    Memory.ACTIVATION: ("CONTRACT", "LOSS", "CORRELATE", "DITHER", "STORE"),
    Memory.MASTER: ("PERTURB", "UPDATE", "STORE"),
    Memory.GRADIENT: ("ACCUMULATE", "CORRELATE", "UPDATE", "STORE"),
    Memory.MOMENT1: ("UPDATE", "STORE"),
    Memory.MOMENT2: ("UPDATE", "STORE"),
    Memory.WEIGHT: ("CONTRACT", "TRANSPOSE", "STORE"),
    Memory.ACTIVATION_TABLE: ("CONTRACT",),
    Memory.SCALAR_TABLE: ("LOSS", "UPDATE"),
}
"""Instructions that read a memory."""

WRITERS: dict[Memory, tuple[str, ...]] = {
    Memory.ACTIVATION: ("CONTRACT", "LOSS", "DITHER", "LOAD"),
    Memory.MASTER: ("UPDATE", "LOAD"),
    Memory.GRADIENT: ("ACCUMULATE", "CORRELATE", "UPDATE", "LOAD"),
    Memory.MOMENT1: ("UPDATE", "LOAD"),
    Memory.MOMENT2: ("UPDATE", "LOAD"),
    Memory.WEIGHT: ("PERTURB", "TRANSPOSE", "LOAD"),
    Memory.ACTIVATION_TABLE: ("LOAD",),
    Memory.SCALAR_TABLE: ("LOAD",),
}
"""Instructions that write a memory."""

_WORDS = {
    Memory.ACTIVATION: ("`activation_depth`", "L activations of W bits, signed: one for each lane"),
    Memory.MASTER: ("`parameter_depth`", f"R masters of {MASTER_BITS} bits, signed"),
    Memory.GRADIENT: ("`parameter_depth`", f"R gradient accumulators of {GRADIENT_BITS} bits, signed"),
    Memory.MOMENT1: ("`parameter_depth`", f"R first moments of {MASTER_BITS} bits, signed"),
    Memory.MOMENT2: ("`parameter_depth`", f"R second moments, words of {MASTER_BITS} bits, unsigned"),
    Memory.WEIGHT: (
        f"`parameter_depth`; at least {FULL.least_weights:,} if not compact",
        "R working weights of W bits, signed",
    ),
    Memory.ACTIVATION_TABLE: (
        "`activation_tables` · 2^`table_bits`",
        "value and slope, W bits each, signed; entry `table * 2**table_bits + index`",
    ),
    Memory.SCALAR_TABLE: (
        f"{len(ScalarTable)} · 2^`table_bits`",
        (
            f"value ({SCALAR_TABLE_BITS} bits, unsigned) and slope ({SCALAR_TABLE_BITS} bits, signed); entry `table * "
            "2**table_bits + index`"
        ),
    ),
}


def _latency(memory: Memory) -> int:
    tables = (Memory.ACTIVATION_TABLE, Memory.SCALAR_TABLE)
    return BLOCK_RAM_LATENCY if memory in tables else MEMORY_LATENCY


def _name(kind: Memory | None) -> str:
    return "scalar" if kind is None else kind.name


def memory_page() -> str:
    """Returns the text of ``docs/memories.md``."""
    engines = {name: config for name, config in PRESETS.items() if "deep" not in name}
    return document(
        "Memories and streams",
        "`dither.arch.isa`, `dither.arch.streams` and `dither.arch.timing`",
        "R is the number of rows of an engine, L the number of its lanes, W the width of its activations and weights.",
        "## Memories",
        table(
            ["number", "memory", "words", "a word is", "read latency", "read by", "written by"],
            [
                (
                    int(memory),
                    memory.name,
                    *_WORDS[memory],
                    _latency(memory),
                    ", ".join(READERS[memory]),
                    ", ".join(WRITERS[memory]),
                )
                for memory in Memory
            ],
        ),
        f"The number is that of LOAD and STORE. The program memory has `program_depth` words of {WORD_BITS} bits and a "
        f"read latency of {BLOCK_RAM_LATENCY}; the sequencer reads it and the host writes it "
        "([registers](registers.md)). The losses that LOSS keeps in mode KEEP, 24 bits for each lane, are a small "
        "memory within that unit.",
        "The two kinds of tables cannot be stored. A program must not name a memory that an engine lacks, nor words "
        "that the memory lacks: what happens then is not defined, and the golden machine refuses it.",
        "Each memory reads one word and writes one word a cycle. The read latency is the number of cycles from an "
        f"address to its data. A word written in cycle t is what addresses of cycle t+{WRITE_LATENCY} and later read. "
        "A word may be read in the cycle in which it is written, but the value is undefined and must not be used; a "
        "simulation gives the complement of the old value, so that whatever uses it is noticed. (Latencies are those "
        "of engines that are not compact.)",
        "**At power-up** all memories, the scalar registers and the kept losses are zero, with one exception: the "
        "single-port RAMs of an iCE40 UltraPlus, which hold program, masters, gradients, moments and scalar tables of "
        "a compact engine, have undefined contents. So a program must not rely on zeros there; a host writes the "
        "whole program, and loads what is read. All memories and registers keep what they hold from program to "
        "program, and over a new session on the link.",
        "## Words in streams",
        "The input stream brings what LOAD and PULL take, and the output stream carries what STORE and EMIT send, in "
        "the order in which the program executes them. A stream is a sequence of *beats*, all of them of `beat_width` "
        "bits. A word is divided in slots, from its lowest bit on: slot 0 is lane 0, row 0, or the value of a table's "
        "entry; slot 1 is lane 1, row 1, or the slope of that entry. In each slot the value has the lowest bits.",
        table(["what", "slots", "bits of a value", "bits from slot to slot"], [(_name(k), *SLOTS[k]) for k in SLOTS]),
        "A weight that is stored is extended to its slot by its sign, and so is a scalar to its beat. Of a slot that "
        "is loaded, the bits of the value count and the rest is ignored; all other bits of a beat are ignored when "
        "they are loaded and zero when they are stored.",
        "Beats are `max(L/P * W, R/P * 48, 36)` bits wide, where P is `word_parts`. Every word takes P beats: a word "
        "of activations, weights, masters, gradients or moments is cut into P parts of as many slots each, the lowest "
        "numbers first; a scalar or an entry of a table, which is not cut, comes P times, and the last time counts.",
        "A compact engine has beats of 16 bits: a word takes as many as it needs, its lowest bits first, and what is "
        "left of the last beat is zero.",
        table(
            ["engine", "bits of a beat", *(f"beats: {_name(kind)}" for kind in SLOTS)],
            [
                (name, config.beat_width, *(beats_per_word(config, kind) for kind in SLOTS))
                for name, config in engines.items()
            ],
        ),
        "In hardware a beat is `payload` with `valid` and `ready`: a payload holds while it is valid, and valid never "
        "waits for ready. How beats travel over a serial line is a matter of the [link](protocol.md).",
    )
