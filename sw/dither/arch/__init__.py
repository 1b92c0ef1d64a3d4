"""The contract that all machines share: what golden machine, gateware and boards agree on.

Configuration, instructions, host registers, streams, number formats, tables, random bits, timing.
"""
