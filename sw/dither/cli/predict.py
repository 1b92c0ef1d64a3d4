"""The commands ``dither predict`` and ``dither export``."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.markup import escape

from ..api.run import Run
from ..arch.config import EngineConfig, engine_name
from ..boards import board as find_board
from ..data import AS_THEY_ARE, Samples, read_samples
from ..devices import SOFTWARE, is_line
from ..inference import Bundle, Predictor, probabilities
from ..inference.export import BUNDLE, SUFFIXES
from ..physics import Problem
from ..tools.files import write_atomically
from ..train.equations import EquationTask
from ..train.experiment import Experiment
from ..train.task import Task
from .answers import Answer, answering
from .values import DEVICE, ENGINE

__all__ = ["export", "predict"]


@click.command(
    epilog="""\b
Examples:
  dither predict runs/data-golden-1                      its own held-out samples
  dither predict runs/data-golden-1 new.csv --out classes.csv
  dither predict runs/data-golden-1 new.npz --out probabilities.npz --probabilities
  dither predict net.bundle new.csv --device /dev/ttyUSB0   on a board, without training
""",
)
@click.argument("source", metavar="RUN|BUNDLE", type=click.Path(path_type=Path))
@click.argument("data", required=False, type=click.Path(path_type=Path))
@click.option(
    "--device",
    type=DEVICE,
    default="golden",
    show_default=True,
    help="Machine to run on, or the serial port of a board, which needs a bundle for its engine. All give the same "
    "bits.",
)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="File for the results: .csv or .npz.")
@click.option("--probabilities", "likely", is_flag=True, help="Write the probability of each class too.")
@answering("predict")
def predict(source: Path, data: Path | None, device: str, out: Path | None, likely: bool, answer: Answer) -> None:
    """Run samples through a trained network, in fixed point: bit for bit what the engine computes.

    DATA is a .npz or .csv file, or a folder, as for training; labels may be missing. Without DATA,
    the samples are those that the run has held out. Prints the accuracy where there are labels.
    """
    console = answer.console(soft_wrap=True, highlight=False)
    if out is not None and out.suffix not in (".csv", ".npz"):
        raise click.UsageError(f"--out {out} must end in .csv or .npz")
    run = None if source.suffix == BUNDLE or source.is_file() else Run.open(source)
    if run is None and data is None:
        raise click.UsageError(f"which samples? dither predict {source} DATA")
    if run is not None and is_line(device):
        raise click.UsageError(
            f"a board runs a program for its own engine: dither export {source} net.bundle --board NAME, then "
            f"dither predict net.bundle DATA --device {device}"
        )
    try:
        bundle = Bundle.load(source) if run is None else run.bundle(None if device in SOFTWARE else run.engine)
        task = Experiment.of_run(run).load() if run is not None and (data is None or run.classes is None) else None
        if data is None:
            samples, bundle = _held_out(task, bundle)
        else:
            samples = read_samples(data, bundle.inference.inputs)
            samples = Samples(samples.inputs, samples.named)
        with console.status("preparing") as status:

            def tell(text: str) -> None:
                status.update(escape(text))

            with Predictor(bundle, device, tell) as predictor:
                outputs = predictor.outputs(
                    samples.inputs, lambda done: tell(f"{done:,} of {len(samples.inputs):,} samples")
                )
                found = predictor.classes(outputs) if bundle.classes is not None else outputs
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    clipped = bundle.scaling.clipped(samples.inputs)
    if clipped:
        console.print(f"{clipped:,} samples reach beyond those trained on; their inputs are clipped")
    problem = task.problem if isinstance(task, EquationTask) else None
    columns = _columns(bundle, samples, outputs, found, problem, likely)
    where = f"{device}, {bundle.inference.engine.width} bits in fixed point: what every device computes, bit for bit"
    answer.values = {"samples": len(found), "device": device, "clipped": clipped}
    if samples.labels is not None and bundle.classes is not None:
        right = _equal(samples.labels, found)
        answer.values["accuracy"] = right / len(found)
        console.print(f"[bold]accuracy {right / len(found):.2%}[/]: {right:,} of {len(found):,} samples right")
    elif problem is not None:
        far = problem.relative_error(np.asarray(samples.inputs, np.float64), outputs[:, 0])
        answer.values["relative_l2"] = far
        console.print(f"[bold]relative L2 error {far:.3g}[/] at {len(found):,} points")
    else:
        console.print(f"{len(found):,} samples")
    console.print(f"computed by {escape(where)}")
    answer.case(f"predict {len(found)} samples by {source} on {device}")
    if out is not None:
        _write(out, columns)
        answer.values["out"] = out
        console.print(f"wrote {escape(str(out))}: {', '.join(columns)}")
    elif not answer.as_json:
        _preview(console, columns)


def _held_out(task: object, bundle: Bundle) -> tuple[Samples, Bundle]:
    """The samples that a run's task holds out, scaled already, and what takes them so."""
    if isinstance(task, EquationTask):
        return Samples(task.test_points), bundle
    assert isinstance(task, Task)
    labels = np.array(bundle.classes)[task.test.labels]
    return Samples(task.test.inputs, labels), replace(bundle, scaling=AS_THEY_ARE)


def _equal(labels: NDArray[Any], found: NDArray[Any]) -> int:
    """How many labels are those that were found; a label that was never trained is wrong."""
    if labels.dtype.kind != found.dtype.kind and "U" in (labels.dtype.kind, found.dtype.kind):
        raise click.UsageError("labels are texts on one side and numbers on the other; give those trained with")
    return int(np.count_nonzero(labels == found))


def _columns(
    bundle: Bundle,
    samples: Samples,
    outputs: NDArray[np.float64],
    found: NDArray[Any],
    problem: Problem | None,
    likely: bool,
) -> dict[str, NDArray[Any]]:
    """What is written, by name; one row a sample."""
    if bundle.classes is None:
        columns = {f"output_{number}": outputs[:, number] for number in range(outputs.shape[1])}
        if problem is not None:
            columns["solution"] = problem.solution_of(np.asarray(samples.inputs, np.float64), outputs[:, 0])
        return columns
    columns = {"class": found}
    if likely:
        columns |= {f"p_{name}": values for name, values in zip(bundle.classes, probabilities(outputs).T, strict=True)}
    if samples.labels is not None:
        columns["label"] = samples.labels
    return columns


def _write(path: Path, columns: dict[str, NDArray[Any]]) -> None:
    try:
        if path.suffix == ".npz":
            arrays: dict[str, Any] = dict(columns)
            write_atomically(path, lambda file: np.savez(file, **arrays))
            return
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(columns)
        table.writerows(zip(*(values.tolist() for values in columns.values()), strict=True))
        write_atomically(path, text.getvalue().encode())
    except OSError as error:
        raise click.UsageError(f"cannot write {path}: {error.strerror or error}; choose another --out") from None


def _preview(console: Console, columns: dict[str, NDArray[Any]]) -> None:
    name, values = next(iter(columns.items()))
    first = ", ".join(f"{value:.5g}" if isinstance(value, float) else str(value) for value in values[:10].tolist())
    console.print(f"{escape(name)}: {escape(first)}{', …' if len(values) > 10 else ''}  (all of them: --out FILE.csv)")


@click.command(
    epilog="""\b
Examples:
  dither export runs/data-golden-1 net.onnx
  dither export runs/data-golden-1 net.bundle --board ulx3s-85f
  dither export runs/data-golden-1 net.npz net.pt net.bundle
""",
)
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, dir_okay=False))
@click.option("--engine", type=ENGINE, metavar="NAME", help="Engine of a bundle.  [default: the run's]")
@click.option("--board", metavar="NAME|FILE", help="Take this board's engine.")
@answering("export")
def export(run: Path, files: tuple[Path, ...], engine: EngineConfig | None, board: str | None, answer: Answer) -> None:
    """Write the network that RUN has trained to FILES, each of a kind that its suffix says.

    .npz: an archive of NumPy. .pt: a state for PyTorch. .onnx: a graph for other runtimes, checked.
    .bundle: a program with parameters, which devices run without training.
    """
    console = answer.console(soft_wrap=True, highlight=False)
    found = Run.open(run)
    if board is not None:
        if engine is not None:
            raise click.UsageError("give --board or --engine, not both")
        engine = find_board(board).engine
    answer.values["files"] = []
    for path in files:
        try:
            with console.status(escape(f"writing {path}")):
                found.export(path, engine)
        except (ImportError, ValueError) as error:
            raise click.UsageError(str(error)) from None
        what = SUFFIXES[path.suffix]
        if path.suffix == BUNDLE:
            what = f"{what}: {engine_name(engine or found.engine)}"
        answer.values["files"].append(path)
        answer.case(f"export {run} to {path}")
        console.print(f"[bold]{escape(str(path))}[/]: {what}")
    if not found.scaling.trivial and any(path.suffix in (".npz", ".pt") for path in files):
        console.print(f"In .npz and .pt files the network takes {escape(str(found.scaling))}.")
