"""Chooses the fault of a :class:`tests.benches.mutation.Mutable`.

It runs before the bench proper, which does not know of it. Parameters: ``mutation``, and those of
the bench.
"""

from __future__ import annotations

from typing import Any

import cocotb

from .runner import bench_parameters


@cocotb.test()
async def select(dut: Any) -> None:
    dut.mutation.value = bench_parameters()["mutation"]
