"""The serial link in gateware: docs/protocol.md, board's side.

The line brings a byte in 80 cycles at best, so nothing here is in a hurry and everything is small:
numbers are worked on bit by bit (:mod:`.serial`), requests and responses wait in block RAM.

line → :mod:`.uart` → :mod:`.cobs` → :mod:`.intake` (header into :mod:`.columns`, body into
:mod:`.buffer`, CRC) → :mod:`.judge` (checks, effects) → :mod:`.responder` → :mod:`.cobs` →
:mod:`.uart` → line; :mod:`.buffer` ↔ :mod:`.packing` ↔ the engine's streams; :mod:`.registers` ↔
its host port.
"""
