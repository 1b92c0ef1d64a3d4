"""ContractUnit's CONTRACT against the golden machine, with the bench as memories.

Instructions are random. After every instruction the bench compares the activation memory, the
number of writes, the cycles, and both counters. Between instructions, nothing may be written or
counted. Some instructions are ended by a reset.

Parameters: ``config``, and ``count`` of instructions.
"""

from __future__ import annotations

from typing import Any

import cocotb

from .contractions import ContractionMachine
from .descriptors import random_contract
from .runner import bench_config, bench_parameters


@cocotb.test()
async def random_instructions(dut: Any) -> None:
    machine = ContractionMachine(dut, bench_config(), cocotb.RANDOM_SEED)
    await machine.prepare()
    clips, count = 0, bench_parameters()["count"]
    for _ in range(count):
        clips += await machine.contract()
        await machine.pause()
        if machine.random.random() < 0.2:
            await machine.abandon(random_contract(machine.random, machine.config))
    assert clips, "the stimuli never saturated"
    dut._log.info("%d instructions, %d clips", count, clips)
