"""Simulated RTL that is compiled by what it was seen to do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import dither_sim.verilated.tuned as tuned
from dither.arch.config import preset
from dither.arch.device import DeviceError
from dither.compiler import Compiled
from dither.devices import Waves, build_device
from dither.train.experiment import Experiment
from dither.train.session import Session

ENGINE = preset("1x8-compact")
STEPS = 3


@pytest.fixture(scope="module")
def compiled() -> Compiled:
    experiment = Experiment.of_task("digits", device="rtl", engine=ENGINE, recipe={"batch": 8, "tile": 8, "probes": 1})
    return experiment.compile(experiment.load(), ENGINE)


def states(device: str, compiled: Compiled, said: list[str]) -> list[np.ndarray]:
    """The parameters behind each step."""
    rng = np.random.default_rng(1)
    inputs = rng.uniform(-1, 1, (STEPS, compiled.recipe.batch, compiled.model.inputs))
    labels = rng.integers(0, 10, inputs.shape[:2])
    machine = build_device(device, ENGINE, status=said.append)
    session = Session(machine, compiled)
    session.load(compiled.commands.initial_state(compiled.model.initial_parameters(1)))
    found = []
    for step in range(STEPS):
        session.train(step, inputs[step : step + 1], labels[step : step + 1])
        found.append(np.concatenate([values.ravel() for values in session.state().master.values()]))
    machine.close()
    return found


@pytest.mark.slow
def test_tuned_on_the_way(compiled: Compiled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DITHER_CACHE", str(tmp_path / "cache"))
    golden = states("golden", compiled, [])
    device = build_device("rtl-tuned", ENGINE)  # closed before anything was observed
    device.close()
    monkeypatch.setattr(tuned, "OBSERVED", 50_000)  # behind the first step, before the last
    said: list[str] = []
    assert np.array_equal(states("rtl-tuned", compiled, said), golden)
    assert sum(text.startswith("compiling the engine") for text in said) == 1
    said.clear()
    assert np.array_equal(states("rtl-tuned", compiled, said), golden)
    assert said == ["elaborating the engine"]
    assert not list(tmp_path.rglob("*.gcda"))


def test_only_with_verilator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DITHER_SIMULATOR", "cxxrtl")
    with pytest.raises(DeviceError, match="rtl-tuned needs Verilator and GCC; use --device rtl"):
        build_device("rtl-tuned", ENGINE)


def test_without_waveforms() -> None:
    with pytest.raises(DeviceError, match="rtl-tuned has no waveforms; use --device rtl with --waves"):
        build_device("rtl-tuned", ENGINE, waves=Waves("x.vcd", 1, 1))
