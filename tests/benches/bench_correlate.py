"""ContractUnit's CORRELATE against the golden machine, with the bench as memories.

Instructions are random. A CONTRACT comes now and then, because both share the multipliers. After
every instruction the bench compares the memory that it writes, the number of writes, the cycles,
and both counters. Between instructions, nothing may be written or counted. Some instructions are
ended by a reset.

Parameters: ``config``, and ``count`` of instructions.
"""

from __future__ import annotations

from typing import Any

import cocotb

from .contractions import ContractionMachine
from .descriptors import random_correlate
from .runner import bench_config, bench_parameters


@cocotb.test()
async def random_instructions(dut: Any) -> None:
    machine = ContractionMachine(dut, bench_config(), cocotb.RANDOM_SEED)
    await machine.prepare()
    for _ in range(bench_parameters()["count"]):
        if machine.random.random() < 0.2:
            await machine.contract()
        else:
            await machine.correlate()
        await machine.pause()
        if machine.random.random() < 0.2:
            await machine.abandon(random_correlate(machine.random, machine.config))
