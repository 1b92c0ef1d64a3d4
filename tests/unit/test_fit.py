"""What fits: needs that are exact, cycles that machines count, records that are current."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from dither.arch.config import EngineConfig, preset
from dither.arch.regmap import PHASES
from dither.boards import boards, load_board
from dither.cli import main
from dither.compiler import DAMPINGS, CompileError, ShortageError, SolvingCommands
from dither.fit import assess, examine, known_results, overview, overview_digest, recording, suggestions, summary
from dither.fit.tables import markdown_table, with_tables
from dither.golden import GoldenMachine
from dither.link.upload import Upload
from dither.nn.models import named_model, with_ranks
from dither.runs import RunFolder
from dither.train.experiment import Experiment
from dither.train.session import Session
from dither.train.tasks import load_task, task_names

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", ROOT / "docs" / "boards.md")


pytestmark = pytest.mark.usefixtures("own_folder")


def digits(engine: EngineConfig, **recipe) -> Experiment:
    return Experiment.of_task("digits", device="golden", engine=engine, recipe=recipe)


def needs(experiment: Experiment) -> dict[str, int]:
    task = load_task(experiment.task)
    found = assess(lambda engine: experiment.compile(task, engine), experiment.engine)
    # The fewest words of a weight memory are there whatever the engine's parameters say.
    free = experiment.engine.family.least_weights
    uses = [use for use in found.uses if use.what != "weight memory" or use.needed > free]
    return {use.parameter: use.needed for use in sorted(uses, key=lambda use: use.needed)}


@pytest.mark.parametrize("estimator", ["layerwise", "mirror,exact"])
def test_the_words_that_are_named_are_the_fewest(estimator):
    """An engine with so many compiles; with one less of any, it does not."""
    names = estimator.split(",")
    small = EngineConfig(rows=2, lanes=8, activation_depth=16, parameter_depth=16, program_depth=16)
    recipe = {"estimator": names if len(names) > 1 else names[0], "probes": 1, "hidden_headroom": 7}
    experiment, task = digits(small, **recipe), load_task("digits")
    needed = needs(experiment)
    assert set(needed) == {"activation_depth", "parameter_depth", "program_depth"}
    experiment.compile(task, replace(small, **needed))
    for parameter, words in needed.items():
        with pytest.raises(ShortageError) as caught:
            experiment.compile(task, replace(small, **{**needed, parameter: words - 1}))
        assert caught.value.parameter == parameter
        assert caught.value.needed >= words


@pytest.mark.parametrize("board", ["icebreaker", "ulx3s-25f", "ulx3s-85f"])
def test_cycles_of_a_step_are_those_that_the_machine_counts(board):
    engine = boards()[board].engine
    experiment, task = digits(engine, batch=32, tile=32, probes=2), load_task("digits")
    found = examine(experiment, task, boards()[board])
    assert found.fits
    compiled = experiment.compile(task, engine)
    session = Session(GoldenMachine(engine), compiled)
    session.load(compiled.commands.initial_state(experiment.initial_parameters))
    session.train(0, *task.batches(experiment.recipe).take(0, 1))
    counted = sum(value for name, value in session.counters.items() if name.startswith("cycles_"))
    (phase,) = found.phases
    assert phase.step_cycles == counted - session.counters["cycles_wait"]
    assert phase.utilisation == session.counters["row_steps"] / (phase.step_cycles * engine.rows)
    assert {name: round(share * phase.step_cycles) for name, share in phase.shares.items() if name != "wait"} == {
        name: session.counters[f"cycles_{name}"] for name in PHASES if name != "wait"
    }
    assert list(phase.shares.values()) == sorted(phase.shares.values(), reverse=True)


def test_bytes_on_the_line_are_those_that_the_driver_packs():
    board = boards()["ulx3s-25f"]
    experiment, task = digits(board.engine), load_task("digits")
    (line,) = examine(experiment, task, board).lines
    compiled = experiment.compile(task, board.engine)
    inputs, targets = task.batches(experiment.recipe).take(0, 1)
    upload = Upload(board.engine, compiled.commands.train(0, [(inputs[0], targets[0])]).inputs, None)
    payload = upload.left(1 << 30)
    assert payload < line.bytes < 1.02 * payload + 20
    assert line.seconds == line.bytes * 10 / board.uart.baud
    assert line.step_seconds >= line.seconds


def test_what_a_solved_step_sends_both_ways_is_on_the_line():
    board = boards()["ulx3s-85f-local"]
    recipe = {"estimator": "residualwise", "probes": 8, "batch": 32, "tile": 32}
    experiment = Experiment.of_task("burgers", device="golden", engine=board.engine, recipe=recipe)
    task = load_task("burgers")
    (line,) = examine(experiment, task, board).lines
    compiled = experiment.compile(task, replace(board.engine, activation_tables=2))
    points = task.batches(experiment.recipe).take(0, 1)[0][0]
    commands = SolvingCommands(compiled).conversation(points)
    assert len(commands) == 2 * (1 + len(DAMPINGS))
    sent = sum(Upload(compiled.engine, command.inputs, None).left(1 << 30) for command in commands)
    words = sum(expect.beats for command in commands for expect in command.expects if expect.kind is not None)
    assert words == (1 + 8 + len(DAMPINGS)) * 32 // board.engine.lanes
    answered = words * board.engine.lanes * (board.engine.width + 1) / 8
    assert sent + answered < line.bytes < sent + 1.5 * answered
    assert line.step_seconds > line.seconds


def test_a_slower_line_makes_the_engine_wait_and_a_store_does_not():
    fast = boards()["ulx3s-85f"]
    slow = replace(fast, uart=replace(fast.uart, baud=115_200))
    experiment, task = digits(fast.engine), load_task("digits")
    lines = [examine(experiment, task, board).lines[0] for board in (fast, slow)]
    assert lines[0].bytes == lines[1].bytes
    assert lines[1].step_seconds == pytest.approx(lines[0].step_seconds * 3_000_000 / 115_200)
    assert lines[1].wait_share > lines[0].wait_share > 0
    text = (ROOT / "constraints" / "ulx3s-85f.toml").read_text()
    file = Path("stored.toml")
    file.write_text(re.sub(r"\n# \[memory\]\n# (chip = .*)\n", r"\n[memory]\n\1\n", text))
    if load_board(file).memory is None:
        file.write_text(text)
    stored = examine(experiment, task, load_board(file)).lines[0]
    assert stored.stored
    assert stored.bytes < lines[0].bytes / 4
    assert stored.once_bytes > 1437 * 32


def test_what_an_engine_lacks_is_named(capsys):
    experiment = digits(boards()["ulx3s-25f"].engine, estimator=["mirror", "exact"], probes=1, hidden_headroom=7)
    task = load_task("digits")
    found = examine(experiment, task, boards()["ulx3s-25f"])
    assert not found.fits
    assert {use.what for use in found.uses if not use.fits} >= {"local learning"}
    near = suggestions(found, task, ("digits", "--estimator", "mirror,exact"))
    kinds = {each.kind: each for each in near}
    assert {"recorded", "changed"} <= set(kinds)
    assert all(each.finding.fits for each in near)
    assert kinds["recorded"].finding.known is not None
    assert kinds["changed"].command.startswith("dither train digits --board ulx3s-25f")


def test_compact_engines_refuse_what_no_memory_gives():
    experiment = digits(preset("1x8-compact"), estimator=["mirror", "exact"], probes=1, hidden_headroom=7)
    found = examine(experiment, load_task("digits"), boards()["icebreaker"])
    assert not found.fits
    assert "local_learning" in found.refusal


def test_wide_probes_want_an_engine_that_has_them():
    experiment, task = digits(boards()["ulx3s-25f"].engine, distribution="gaussian"), load_task("digits")
    with pytest.raises(CompileError, match="gaussian probes need an engine with wide_probes"):
        experiment.compile(task, experiment.engine)
    assert "wide probes" in {use.what for use in examine(experiment, task).uses if not use.fits}


def test_records_of_the_package_are_current():
    """To make them again: ``dither results docs/results``."""
    assert (ROOT / "docs" / "results" / "records.json").read_text() == summary(ROOT / "docs" / "results")
    assert len(known_results()) == len(json.loads((ROOT / "docs" / "results" / "records.json").read_text()))


def test_a_record_is_found_by_what_was_trained_whatever_the_seed():
    recipe = {"estimator": "coordinate", "probes": 1, "rate": 0.03, "schedule_steps": 70}
    for seed in (1, 5):
        known = recording(digits(preset("2x16"), **recipe, seed=seed))
        assert known is not None
        assert known.name.startswith("digits-coordinate-")
        assert known.first(0.9) < known.steps
    assert recording(digits(preset("2x16"), **recipe | {"rate": 0.02})) is None
    narrow = recording(digits(preset("1x8-compact"), **recipe))
    assert narrow is None or narrow.numerics == (16, 6)


def test_phases_take_the_time_of_all_of_them():
    board = boards()["ulx3s-45f"]
    first = digits(board.engine, estimator="tensorwise", probes=1)
    text = ["after=10,estimator=coordinate"]
    both = Experiment.of_task(
        "digits",
        device="golden",
        engine=board.engine,
        recipe={"estimator": "tensorwise", "probes": 1},
        then=text,
        steps=15,
    )
    task = load_task("digits")
    found = examine(both, task, board)
    one, two = found.step_seconds
    assert found.seconds(15) == pytest.approx(10 * one + 5 * two)
    assert found.seconds(4) == pytest.approx(examine(first, task, board).seconds(4))


def test_smaller_ranks_make_smaller_networks():
    model = named_model("mnist")
    small = with_ranks(model, 3)
    assert small.parameter_count < model.parameter_count
    assert with_ranks(model, 6) == model
    assert with_ranks(small, 5) == small
    with pytest.raises(ValueError, match="no tensor trains"):
        with_ranks(named_model("mnist-mlp"), 3)


# The command line


def test_exit_codes_say_whether_it_fits(capsys):
    assert main(["fit", "digits", "--board", "icebreaker"]) == 0
    assert "fits" in capsys.readouterr().out
    assert main(["fit", "digits", "--board", "icebreaker", "--estimator", "coordinate,exact", "--probes", "1"]) == 1
    said = capsys.readouterr()
    assert "does not fit" in said.out
    assert "which may take minutes" in said.err
    assert main(["fit", "digits", "--board", "icebreker"]) == 2
    assert "did you mean icebreaker?" in capsys.readouterr().err
    assert main(["fit", "digits", "--board", "icebreaker", "--engine", "1x8"]) == 2
    assert "leave --engine out" in capsys.readouterr().err


def test_a_dry_run_says_the_same_and_leaves_nothing(capsys):
    assert main(["fit", "digits", "--board", "ulx3s-12f"]) == 0
    said = capsys.readouterr().out
    assert main(["train", "digits", "--board", "ulx3s-12f", "--dry-run"]) == 0
    assert capsys.readouterr().out == said
    assert not list(Path().iterdir())


def test_json_has_all_of_it(capsys):
    assert main(["fit", "digits", "--board", "ulx3s-12f", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["fits"]
    assert found["phases"][0]["step_cycles"] > 0
    assert {use["parameter"] for use in found["uses"]} >= {"activation_depth", "parameter_depth", "program_depth"}


def test_a_board_brings_its_engine_and_numbers(capsys):
    """A golden run for a board has the bits of its engine, and says how to make it again."""
    quick = ["--batch", "32", "--tile", "16", "--probes", "1", "--log-every", "1", "--steps", "2"]
    assert main(["train", "digits", "--board", "icebreaker", *quick, "--out", "board"]) == 0
    assert main(["train", "digits", "--engine", "1x8-compact", *quick, "--out", "engine"]) == 0
    run = RunFolder.open("board")
    assert run.description["engine"] == boards()["icebreaker"].engine.to_dict()
    assert "--board icebreaker" in run.description["command"]
    assert main(["compare", "board", "engine", "--no-plot"]) == 0
    assert main(["train", "--resume", "board", "--steps", "3"]) == 0
    assert Experiment.of_run(RunFolder.open("board")).engine_of == "icebreaker"


# What every board learns


def test_boards_learn_what_is_recorded_for_their_numbers():
    some = {name: boards()[name] for name in ("icebreaker", "ulx3s-25f")}
    cells = overview(some, ["digits"])
    assert [cell.board.name for cell in cells] == list(some)
    for cell in cells:
        if cell.known is not None:
            assert cell.known.numerics == (cell.board.engine.width, cell.board.engine.table_bits)
            assert cell.seconds > 0
    known = {each.name: each for each in known_results()}
    best = max(each.final for each in known.values() if each.task == "digits" and each.numerics == (18, 9))
    assert cells[1].known.final == best
    table = markdown_table(cells)
    page = "a\n<!-- dither boards --learn ulx3s-25f -->\nold\n<!-- end -->\nb\n"
    made = with_tables(page, cells, "1234")
    assert made == with_tables(made, cells, "1234")
    assert "(1234)" in made
    assert "old" not in made
    assert "icebreaker" in table
    assert "icebreaker" not in made


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_tables_of_the_pages_are_made_of_todays_boards_and_records(page):
    """To make them again: ``dither boards --learn --into README.md --into docs/boards.md``."""
    found = re.findall(r"<!-- dither boards --learn[^(]*\(([0-9a-f]+)\) -->", page.read_text())
    assert found == [overview_digest(boards())]


@pytest.mark.slow
def test_tables_of_the_pages_are_what_boards_learn():
    try:
        for name in {known.task for known in known_results()}:
            load_task(name)
    except ValueError as error:
        pytest.skip(f"a recorded task's files are not here: {error}")
    cells = overview(boards(), task_names())
    for page in PAGES:
        assert with_tables(page.read_text(), cells, overview_digest(boards())) == page.read_text()
