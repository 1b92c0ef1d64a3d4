"""Training runs: the same bits however a run is cut into pieces, and whatever machine runs it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dither.arch.config import EngineConfig, preset
from dither.golden import predict
from dither.runs import RunError, RunFolder
from dither.runs.compare import compare
from dither.train.experiment import Experiment
from dither.train.loop import Progress
from dither.train.prepared import prepare
from dither.train.sampler import Sampler
from dither.train.session import pack_state, unpack_state

SMALL = {"batch": 32, "tile": 16, "probes": 1, "mu": 2**-6}


def experiment(
    steps: int, engine: EngineConfig | None = None, device: str = "golden", log_every: int = 5
) -> Experiment:
    return Experiment.of_task(
        "digits",
        device=device,
        engine=engine or preset("1x8"),
        steps=steps,
        log_every=log_every,
        checkpoint_every=4,
        recipe=SMALL,
    )


def train(chosen: Experiment, path: Path, stop: Callable[[int], bool] = lambda step: False) -> RunFolder:
    """Begins or resumes a run; ``stop`` is asked with the step reached."""
    prepared = prepare(chosen)
    seen: list[Progress] = []
    try:
        if path.exists():
            run = RunFolder.open(path)
            trainer = prepared.trainer(run)
            trainer.resume()
        else:
            run = RunFolder.create(path, prepared.describe())
            trainer = prepared.trainer(run)
            trainer.start()
        trainer.train(report=seen.append, stop=lambda: stop(trainer.step))
        prepared.finish(run)
        run.close()
    finally:
        prepared.close()
    return RunFolder.open(path)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """An uninterrupted run of 22 steps: longer than logging and checkpoints, no multiple of
    either.
    """
    return train(experiment(22), tmp_path_factory.mktemp("whole") / "run")


def test_run_folder_is_complete(whole: RunFolder) -> None:
    rows = whole.curve()
    assert [row.step for row in rows] == [0, 5, 10, 15, 20, 22]
    history = whole.history(rows)
    assert not (history[0] == history[1]).all()
    passes = rows[1].forwards / 5 / SMALL["batch"]
    assert passes == int(passes) > 1
    assert np.isnan(rows[0].train_loss)
    progress = whole.description["progress"]
    assert progress["step"] == 22
    assert progress["counters"]["cycles_contract"] > 0
    names = [entry["name"] for entry in whole.description["activations"]]
    assert names[0] == "input"
    assert len(names) == 1 + len(whole.description["plan"]["lines"])


def test_same_seed_same_bits_other_seed_other_bits(whole: RunFolder, tmp_path: Path) -> None:
    assert compare(whole, train(experiment(22), tmp_path / "again")).identical
    changed = experiment(5)
    other = Experiment.of_task(
        "digits", device="golden", engine=changed.engine, steps=5, log_every=5, recipe=SMALL | {"seed": 2}
    )
    result = compare(whole, train(other, tmp_path / "other"))
    assert result.difference is not None or "fraction bits" in str(result.reason)


@pytest.mark.parametrize("stops", [[1], [5], [7], [3, 4, 11, 20, 21]])
def test_resumed_run_equals_uninterrupted_run(whole: RunFolder, tmp_path: Path, stops: list[int]) -> None:
    for stop in [*stops, 99]:
        run = train(experiment(22), tmp_path / "run", lambda step, stop=stop: step >= stop)  # type: ignore[misc]
        if stop < 22:
            assert run.load_checkpoint().step < 22
    assert compare(whole, run).identical
    assert run.description["progress"]["counters"] == whole.description["progress"]["counters"]


def test_killed_run_resumes_from_the_checkpoint_before(whole: RunFolder, tmp_path: Path) -> None:
    shutil.copytree(whole.path, tmp_path / "run")
    run = RunFolder.open(tmp_path / "run")
    files = sorted(run.checkpoints.iterdir())
    assert [file.name for file in files] == ["step-000000016.npz", "step-000000020.npz", "step-000000022.npz"]
    for file in files[1:]:
        file.unlink()
    assert compare(whole, train(experiment(22), run.path)).identical


def test_longer_run_equals_resumed_longer_run(whole: RunFolder, tmp_path: Path) -> None:
    short = train(experiment(12), tmp_path / "run")
    assert [row.step for row in short.curve()] == [0, 5, 10, 12]
    longer = train(Experiment.of_run(short, 22), short.path)
    assert compare(whole, longer).identical


def test_finished_run_resumes_to_itself(whole: RunFolder, tmp_path: Path) -> None:
    shutil.copytree(whole.path, tmp_path / "run")
    assert compare(whole, train(experiment(22), tmp_path / "run")).identical


def test_results_do_not_depend_on_geometry(whole: RunFolder, tmp_path: Path) -> None:
    """The golden machine's own geometry, the reported one, and a third one."""
    chosen = experiment(22)
    compiled = [
        chosen.compile(prepare(chosen).task, engine)
        for engine in (chosen.machine, preset("1x8"), EngineConfig(rows=4, lanes=16))
    ]
    assert len({tuple(program.program) for program in compiled}) == 3
    assert len({str(program.formats) for program in compiled}) == 1
    other = train(experiment(22, EngineConfig(rows=4, lanes=16)), tmp_path / "other")
    assert compare(whole, other).identical
    mine, theirs = (run.description["progress"]["counters"]["cycles_contract"] for run in (whole, other))
    assert theirs < mine


def test_curve_shorter_than_the_checkpoint_is_refused(whole: RunFolder, tmp_path: Path) -> None:
    shutil.copytree(whole.path, tmp_path / "run")
    lines = (tmp_path / "run" / "curve.csv").read_text().splitlines(keepends=True)
    (tmp_path / "run" / "curve.csv").write_text("".join(lines[:3]))
    with pytest.raises(RunError, match="has 2 lines, the checkpoint was made after 5"):
        train(experiment(30), tmp_path / "run")


def test_cost_of_a_command_is_linear_in_its_steps() -> None:
    """What makes counters independent of chunks, and predictions for another geometry right."""
    session = prepare(experiment(1, preset("2x16"))).session
    entry, reported = session.reported.entries["train"], session.reported
    costs = [predict(reported.engine, reported.program, entry, [0, 0, n] + [0] * n) for n in (1, 2, 3, 7)]
    for name, cost in costs[0].items():
        step = costs[1][name] - cost
        assert [each[name] for each in costs] == [cost, cost + step, cost + 2 * step, cost + 6 * step]


def test_state_round_trip() -> None:
    prepared = prepare(experiment(1))
    state = prepared.session.compiled.commands.initial_state(prepared.experiment.model.initial_parameters(3))
    top = {name: values + (1 << 32) - 1 for name, values in state.moment2.items()}
    state = type(state)(state.master, state.moment1, top)
    back = unpack_state(pack_state(state))
    for kind in ("master", "moment1", "moment2"):
        for name, values in getattr(state, kind).items():
            assert (getattr(back, kind)[name] == values).all()


def test_sampler_visits_every_sample_once_a_pass() -> None:
    sampler = Sampler(samples=30, batch=12, seed=5)
    chosen = sampler.indices(0, 10).ravel()
    for number in range(4):
        assert sorted(chosen[30 * number : 30 * (number + 1)]) == list(range(30))
    assert (chosen[:30] != chosen[30:60]).any()
    assert (Sampler(samples=30, batch=12, seed=5).indices(7, 2) == sampler.indices(0, 10)[7:9]).all()
    assert (Sampler(samples=30, batch=12, seed=6).indices(0) != sampler.indices(0)).any()
    with pytest.raises(ValueError, match="must be positive"):
        Sampler(samples=0, batch=1, seed=1)


def test_simulated_gateware_gives_the_same_run(tmp_path: Path) -> None:
    """Parameters, losses, cycles by phase and saturations, after steps of the task's own recipe."""
    runs = []
    for device in ("golden", "rtl"):
        chosen = Experiment.of_task("digits", device=device, engine=preset("1x8"), steps=3, log_every=1, recipe={})
        runs.append(train(chosen, tmp_path / device))
    assert compare(*runs).identical
    golden, rtl = (dict(run.description["progress"]["counters"]) for run in runs)
    rtl["cycles_wait"] = 0
    assert rtl == golden
