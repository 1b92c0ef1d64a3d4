"""The board's end of the serial link, in gateware; docs/protocol.md describes the link.

The line brings a byte in 80 cycles at best, so nothing here is in a hurry and everything is small:
numbers are worked on bit by bit (:mod:`.serial`), requests and responses wait in block RAM.

line → :mod:`.uart` → :mod:`.cobs` → :mod:`.intake` (header into :mod:`.columns`, body into
:mod:`.buffer`, CRC) → :mod:`.judge` (checks, effects) → :mod:`.responder` → :mod:`.cobs` →
:mod:`.uart` → line; :mod:`.buffer` ↔ :mod:`.packing` ↔ the engine's streams; :mod:`.registers` ↔
its host port.

In the descriptions of ports, *in the gap* and *last cycle* are cycles of a slot (:mod:`.serial`);
*for a whole slot* means that a signal keeps its value for all cycles of one slot.
"""
