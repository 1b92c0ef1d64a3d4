"""The contract that all machines share: configuration, instructions, registers, streams, number
formats, timing.
"""
