"""The compact engine against the golden machine: random programs, simulated from its description
and its netlist.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dither.arch.config import EngineConfig, preset
from dither.arch.device import DeviceError
from dither.arch.isa import INSTRUCTIONS, LOCAL_INSTRUCTIONS
from dither.golden import GoldenMachine
from dither.train.session import Session, pack_state
from dither.train.tasks import load_task
from dither_sim.verilated import Pauses, VerilatedDevice
from tests.programs import differential, programs

from .sameness import assert_same

"""Programs for each engine; more for a soak."""

ENGINES = {
    "1x8": preset("1x8-compact"),
    "1x3": EngineConfig(
        rows=1,
        lanes=3,
        lanes_per_table=1,
        width=16,
        activation_depth=128,
        parameter_depth=48,
        table_bits=7,
        activation_tables=0,
        wide_probes=0,
        local_learning=0,
        compact=1,
    ),
}


def sized(config: EngineConfig) -> EngineConfig:
    """With memories that programs fill quickly, and room for programs."""
    return EngineConfig.from_dict(
        config.to_dict() | {"activation_depth": 64, "parameter_depth": 48, "program_depth": 4096}
    )


@pytest.fixture(scope="module", params=list(ENGINES))
def devices(request):
    config = sized(ENGINES[request.param])
    rtl = VerilatedDevice(config)
    yield rtl, GoldenMachine(config)
    rtl.close()


@differential
@given(st.data())
def test_random_descriptors(devices, data):
    assert_same(devices, data.draw(programs(devices[0].config, single=True)))


@differential
@given(st.data())
def test_random_programs(devices, data):
    assert_same(devices, data.draw(programs(devices[0].config)))


def test_unknown_instructions_fault(devices):
    unknown = [form.opcode for form in INSTRUCTIONS if form.name in LOCAL_INSTRUCTIONS] + [31, 32, 64 + 12, 255]
    for opcode in unknown:
        for device in devices:
            device.write_program([opcode, *[0] * 20])
            with pytest.raises(DeviceError, match="fault"):
                device.run(0)


def test_unwilling_streams():
    """Pauses change nothing but what is charged to waiting."""
    config = sized(ENGINES["1x8"])
    golden = GoldenMachine(config)
    with VerilatedDevice(config, pauses=Pauses(idle=90, back_pressure=150)) as rtl:

        @settings(differential, max_examples=10)
        @given(programs(config))
        def same(program):
            assert_same((rtl, golden), program, waits=True)

        same()


@pytest.mark.slow
def test_a_network_trains_alike():
    """Losses, all state and all counters of two steps."""
    config, task = ENGINES["1x8"], load_task("digits")
    compiled = task.compile(task.model, task.recipe, config, task.model.initial_parameters(seed=1))
    batches = task.batches(task.recipe).take(0, 2)
    results = []
    with VerilatedDevice(config) as rtl:
        for device in (GoldenMachine(config), rtl):
            session = Session(device, compiled)
            session.load(compiled.commands.initial_state(task.model.initial_parameters(seed=1)))
            results.append((session.train(0, *batches), pack_state(session.state()), dict(session.counters)))
    (losses, state, counters), (same_losses, same_state, same_counters) = results
    np.testing.assert_array_equal(same_losses, losses)
    assert same_counters == counters
    assert same_state.keys() == state.keys()
    for name, values in state.items():
        np.testing.assert_array_equal(same_state[name], values, err_msg=str(name))


@pytest.mark.slow
def test_netlist():
    """What synthesis makes of it, with the primitives of an iCE40."""
    config = sized(ENGINES["1x8"])
    golden = GoldenMachine(config)
    with VerilatedDevice(config, netlist=True) as netlist:

        @settings(differential, max_examples=10)
        @given(programs(config))
        def same(program):
            assert_same((netlist, golden), program)

        same()
