"""Random descriptors and programs: simulated RTL and golden machine leave the same bits in as many
cycles.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dither.arch.config import EngineConfig
from dither.arch.device import DeviceError
from dither.arch.isa import INSTRUCTIONS, LOCAL_INSTRUCTIONS
from dither.golden import GoldenMachine
from dither_sim.verilated import VerilatedDevice
from tests.programs import differential, programs

from .sameness import assert_same

ENGINES = {
    "1x4 w16": EngineConfig(
        rows=1,
        lanes=4,
        width=16,
        activation_depth=128,
        parameter_depth=64,
        table_bits=7,
        activation_tables=0,
        lanes_per_table=2,
        rounds_per_cycle=4,
        local_learning=0,
    ),
    "2x6 w18": EngineConfig(
        rows=2,
        lanes=6,
        width=18,
        activation_depth=128,
        parameter_depth=64,
        table_bits=6,
        activation_tables=2,
        lanes_per_table=3,
        rounds_per_cycle=2,
    ),
    "8x8 parts": EngineConfig(
        rows=8,
        lanes=8,
        word_parts=4,
        activation_depth=128,
        parameter_depth=48,
        table_bits=6,
        activation_tables=1,
        lanes_per_table=4,
        wide_probes=0,
    ),
    "4x4 parts": EngineConfig(
        rows=4,
        lanes=4,
        word_parts=2,
        activation_depth=128,
        parameter_depth=48,
        table_bits=6,
        activation_tables=1,
        lanes_per_table=2,
        local_learning=0,
    ),
    "8x3 w16": EngineConfig(
        rows=8,
        lanes=3,
        width=16,
        activation_depth=256,
        parameter_depth=48,
        table_bits=8,
        activation_tables=1,
        lanes_per_table=1,
    ),
}


@pytest.fixture(scope="module", params=list(ENGINES))
def devices(request):
    config = ENGINES[request.param]
    rtl = VerilatedDevice(config)
    yield rtl, GoldenMachine(config)
    rtl.close()


@differential
@given(st.data())
def test_random_descriptors(devices, data):
    assert_same(devices, data.draw(programs(devices[0].config, single=True)))


def test_unknown_instructions_fault(devices):
    """Those of local learning where there is none."""
    if devices[0].config.local_learning:
        pytest.skip("this engine knows all instructions")
    for name in LOCAL_INSTRUCTIONS:
        (form,) = (form for form in INSTRUCTIONS if form.name == name)
        for device in devices:
            device.write_program([form.opcode, *[0] * form.words])
            with pytest.raises(DeviceError, match="fault"):
                device.run(0)


@differential
@given(st.data())
def test_random_programs(devices, data):
    assert_same(devices, data.draw(programs(devices[0].config)))
