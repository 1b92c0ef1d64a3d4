"""Tries the faults of a :class:`tests.benches.mutation.Mutable`, each in a copy of the simulation.

It runs before the bench proper, which does not know of it: at the first instant the process forks
for each fault, so that starting up is paid for once. A copy leaves its results in a file of its
own, and has :data:`PATIENCE` times the processor's time of the component as it is.

Parameters: ``mutations``, how many faults there are, and those of the bench.
"""

from __future__ import annotations

import math
import os
import resource
import sys
from pathlib import Path
from typing import Any

import cocotb

# What is called when results are written; cocotb keeps it to itself.
from cocotb import _shutdown

from .runner import bench_parameters, failures

PATIENCE = 5.0
_LEAST = 5.0
"""Seconds that each has anyhow."""


@cocotb.test()
async def select(dut: Any) -> None:
    results, limit = Path(os.environ["COCOTB_RESULTS_FILE"]), 600.0
    for number in range(bench_parameters()["mutations"] + 1):
        own = results.with_name(f"{number}.xml")
        sys.stdout.flush()
        child = os.fork()
        if not child:
            _, most = resource.getrlimit(resource.RLIMIT_CPU)
            seconds = math.ceil(limit) if most == resource.RLIM_INFINITY else min(math.ceil(limit), most)
            resource.setrlimit(resource.RLIMIT_CPU, (seconds, most))
            os.environ["COCOTB_RESULTS_FILE"] = str(own)
            # A copy has none of the simulator's threads, for which it would wait at its end.
            _shutdown.register(lambda: os._exit(0))
            dut.mutation.value = number
            return
        _, _, used = os.wait4(child, 0)
        if number == 0:
            limit = _LEAST + PATIENCE * (used.ru_utime + used.ru_stime)
            if failures(own):
                break
    # Nothing is left for the process that all others are copies of.
    os._exit(0)
