"""Sweeps without any training: files, searches, costs, halving, fronts."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dither.cli import main
from dither.golden import GoldenMachine
from dither.runs import CurveRow
from dither.runs.lock import FolderLock
from dither.runs.metrics import ACCURACY
from dither.sweep.analysis import dominates, front, importance
from dither.sweep.course import Sweep, load_rows
from dither.sweep.halving import kept, rungs
from dither.sweep.plan import Choice, Plan, SweepError
from dither.sweep.search import search_of
from dither.sweep.trial import Cost, Trial, assess, experiment_of
from dither.train.session import Session

FILE = """
task = "digits"
steps = 40
target = 0.5
objectives = ["merit", "cycles", "multipliers"]
{more}
[vary]
engine = ["1x8", "2x16"]
rate = {{ from = 0.004, to = 0.03, points = 3, log = true }}
probes = [[4, 16], 2]
"""


def plan(tmp_path: Path, more: str = "") -> Plan:
    path = tmp_path / "sweep.toml"
    path.write_text(FILE.format(more=more))
    return Plan.read(path)


def test_a_grid_is_all_combinations(tmp_path):
    found = list(plan(tmp_path).grid())
    assert len(found) == 12
    assert found[0] == {"engine": "1x8", "rate": 0.004, "probes": (4, 16)}
    assert {each["rate"] for each in found} == {0.004, 0.0109545, 0.03}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("task = ", "is no TOML"),
        ("steps = 3\n[vary]", "task is missing"),
        ('task = "digits"\nsteps = 0\n[vary]', "steps must be"),
        ('task = "digits"\nsteps = 3\nspeed = 1\n[vary]', "unknown key 'speed'"),
        ('task = "digits"\nsteps = 3\n[vary]\nrates = [1]', "nothing is called 'rates'"),
        ('task = "digits"\nsteps = 3\n[vary]\nrate = []', "no values"),
        ('task = "digits"\nsteps = 3\n[vary]\nrate = {from = 2, to = 1, points = 2}', "from must be less"),
        ('task = "digits"\nsteps = 3\n[vary]\nrate = {from = 0, to = 1, log = true}', "more than 0"),
        ('task = "digits"\nsteps = 3\n[vary]\nrate = {from = 1, to = 2}', "give points"),
        ('task = "digits"\nsteps = 3\nobjectives = ["luck"]\n[vary]', "nothing is called 'luck'"),
        ('task = "digits"\nsteps = 3\nobjectives = ["cycles"]\n[vary]', "give target"),
        ('task = "digits"\nsteps = 3\nsearch = "magic"\n[vary]', "search must be"),
        ('task = "digits"\nsteps = 3\nhalving = 1\n[vary]', "at least 2"),
    ],
)
def test_bad_files_are_refused_in_one_line(tmp_path, capsys, text, complaint):
    path = tmp_path / "bad.toml"
    path.write_text(text)
    assert main(["sweep", str(path), "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert complaint in said
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_two_sweeps_do_not_share_a_folder(tmp_path, capsys):
    plan(tmp_path)
    (tmp_path / "out").mkdir()
    lock = FolderLock(tmp_path / "out")
    assert lock.take()
    assert main(["sweep", str(tmp_path / "sweep.toml"), "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert "is in use: process" in said
    assert said.count("\n") == 1


def test_missing_files_and_folders_are_refused(tmp_path, capsys):
    assert main(["sweep", str(tmp_path / "none.toml")]) == 2
    assert main(["sweep", str(tmp_path / "none.toml"), "--best", "--out", str(tmp_path)]) == 2
    assert "trials.csv" in capsys.readouterr().err


@given(st.floats(1e-6, 1e3), st.floats(1.001, 1e6), st.booleans(), st.integers(0, 2**32 - 1))
def test_random_values_are_in_their_range(low, factor, log, seed):
    choice = Choice.parse("rate", {"from": low, "to": low * factor, "log": log})
    value = choice.draw(np.random.default_rng(seed))
    assert low * (1 - 1e-5) <= value <= low * factor * (1 + 1e-5)


@pytest.mark.parametrize("search", ["random", "tpe", "nsga2"])
def test_a_search_repeats_itself(tmp_path, search):
    if search != "random":
        pytest.importorskip("optuna", reason="install optuna pyarrow")
    chosen = plan(tmp_path, f'search = "{search}"\ntrials = 30\ngeneration = 5')

    def proposed(results: list[float]) -> list[dict]:
        found, sources = search_of(chosen), iter(results)
        trials: list[dict] = []
        while asked := found.ask():
            trials += asked
            found.tell([[next(sources)] * 3 if number else None for number, _ in enumerate(asked)])
        return trials

    first = proposed([0.1 * number for number in range(30)])
    assert len(first) == 30
    assert first == proposed([0.1 * number for number in range(30)])
    assert search == "random" or first != proposed([-0.1 * number for number in range(30)])


def test_costs_are_exact_and_trainings_are_shared(tmp_path):
    chosen = plan(tmp_path)
    values = {"rate": 0.01, "probes": 2}
    one, two = (assess(chosen, {**values, "engine": name}) for name in ("1x8", "2x16"))
    other = assess(chosen, {**values, "engine": "1x8", "rate": 0.02})
    assert one.key == two.key != other.key
    assert one.cycles > two.cycles
    assert (one.multipliers, two.multipliers) == (8, 32)

    experiment = experiment_of(chosen, {**values, "engine": "2x16"})
    task = experiment.load()
    compiled = experiment.compile(task, experiment.engine)
    session = Session(GoldenMachine(compiled.engine), compiled)
    session.load(compiled.commands.initial_state(experiment.initial_parameters))
    session.train(0, *task.batches(experiment.recipe).take(0, 2))
    assert 2 * two.cycles == sum(count for name, count in session.counters.items() if name.startswith("cycles_"))


def test_what_does_not_fit_says_why(tmp_path):
    chosen = plan(tmp_path)
    assert "parameter_depth" in (assess(chosen, {"engine": "1x8@128"}).trouble or "")
    assert "tile" in (assess(chosen, {"engine": "1x8", "tile": 48}).trouble or "")


def test_a_trials_command_makes_the_same_experiment(tmp_path):
    chosen = plan(tmp_path)
    cost = assess(chosen, {"engine": "4x32", "ranks": 2, "rate": 0.02, "probes": (2, 4)})
    for word in ("--engine 4x32", "--ranks 2", "--rate 0.02", "--probes 2,4", "--schedule-steps 40"):
        assert word in cost.command


# Halving


def curve(*values: float) -> list[CurveRow]:
    return [CurveRow(10 * step, 0, 0, 0.0, 0.0, value, "") for step, value in enumerate(values)]


def test_slow_starters_stay():
    curves = {
        "high": curve(0.1, 0.7, 0.72),
        "rising": curve(0.1, 0.12, 0.4),
        "middling": curve(0.1, 0.5, 0.52),
        "low": curve(0.1, 0.1, 0.1),
    }
    assert kept(curves, 4, lower=False) == ["high", "rising"]
    assert kept({name: curve(*(1 - row.metric for row in rows)) for name, rows in curves.items()}, 4, lower=True) == [
        "high",
        "rising",
    ]


@given(st.integers(1, 2000), st.integers(1, 100), st.integers(2, 5))
def test_rungs_lead_to_the_last_step(steps, log_every, factor):
    found = rungs(steps, log_every, factor)
    assert found[-1] == steps
    assert all(a < b for a, b in itertools.pairwise(found))
    assert all(level % log_every == 0 for level in found[:-1])
    assert rungs(steps, log_every, None) == [steps]


# Fronts


@given(st.lists(st.tuples(*[st.integers(0, 4)] * 3), max_size=30))
def test_a_front_is_what_nothing_dominates(points):
    named = {number: tuple(map(float, point)) for number, point in enumerate(points)}
    found = set(front(named))
    for name, point in named.items():
        beaten = any(
            all(a <= b for a, b in zip(other, point, strict=True)) and other != point for other in named.values()
        )
        assert (name in found) == (not beaten)


def test_unknown_results_are_on_no_front():
    assert front({0: (math.inf, 0.0), 1: (1.0, 1.0)}) == [1]
    assert not dominates((1.0, 1.0), (1.0, 1.0))


def test_importance_is_a_share_of_variance():
    values = [{"a": a, "b": b, "c": a * 10 + b} for a in range(4) for b in range(4)]
    found = importance(values, [10.0 * each["a"] for each in values], ["a", "b"])
    assert found == {"a": pytest.approx(1.0), "b": pytest.approx(0.0)}
    assert importance(values, [1.0] * 16, ["a"]) == {"a": 0.0}
    assert 0.9 < importance(values, [float(each["c"]) for each in values], ["c"])["c"] <= 1.0


def test_the_table_is_parquet_too(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet", reason="install optuna pyarrow")
    chosen = plan(tmp_path)
    found = Sweep(chosen, tmp_path, 1, lambda standing: None, lambda: False)
    found.metric = ACCURACY
    cost = Cost(None, "key", 100, 64, 32, 1000, 746, "dither train digits")
    found.trials = [
        Trial(0, {"engine": "2x16", "rate": 0.01, "probes": (4, 16)}, cost, "done", rows=curve(0.1, 0.6)),
        Trial(1, {"engine": "1x8", "rate": 0.01, "probes": 2}, Cost("too small"), "does not fit", "too small"),
    ]
    found.write()
    rows = parquet.read_table(tmp_path / "trials.parquet").to_pylist()
    written = load_rows(tmp_path)
    assert [row["state"] for row in rows] == [row["state"] for row in written] == ["done", "does not fit"]
    assert rows[0]["cycles"] == int(written[0]["cycles"]) == 1000
    assert rows[0]["merit"] == 0.6
    assert rows[1]["merit"] is None


def test_sweep_errors_are_errors_of_users():
    assert issubclass(SweepError, ValueError)
