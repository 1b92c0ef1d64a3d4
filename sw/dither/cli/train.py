"""The command ``dither train``, with an option for each field of the recipe."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape

from ..arch.config import PRESETS
from ..arch.device import DeviceError
from ..arch.isa import Rule
from ..data import DATA_VARIABLE
from ..devices import board_engine, is_line
from ..nn.models import MODELS
from ..recipe import DISTRIBUTIONS, LOCAL_LOSSES, SCHEDULES, SHRINKAGES, SIDES, WORDS, Recipe
from ..runs import RunFolder, default_folder
from ..train.config import CONFIG, read_config
from ..train.experiment import Experiment
from ..train.loop import Trainer
from ..train.prepared import Prepared, prepare
from ..train.tasks import FORMS, task_names
from . import INTERRUPTED
from .answers import Answer, answering
from .boards import BOARD
from .group import refusals
from .progress import Display, interruptions, telling
from .values import DASHBOARD, DATA_OF, DEVICE, DEVICES, ENGINE, ESTIMATOR, PROBES, TASK, WAVES

__all__ = ["RECIPE", "fresh", "train"]

RECIPE = tuple(field.name for field in fields(Recipe))
"""Names of the recipe's fields, each of which is an option of the same name."""
MOST_STEPS = (1 << 31) - 1
"""Most steps of a run: their number is a register's value."""
_CONFIGURED = (
    "device",
    "engine",
    "steps",
    "log_every",
    "checkpoint_every",
    "stencil",
    "data",
    "data_of",
    "network",
    "then",
)
"""Options that stand in a configuration file under the same name."""
_RESUMED = ("resume", "task", "steps", "data", "device", "devices", "cluster", "tls", "dashboard", "as_json", "junit")
"""Options that go together with --resume; everything else stands in the run's run.json."""


@click.command(
    epilog="""\b
Examples:
  dither train digits                              on the golden machine, with the task's own recipe
  dither train digits --device rtl --steps 5 --log-every 1
  dither train digits --engine 4x32 --seed 7 --rate 0.002 --out runs/seven
  dither train --resume runs/seven                 after Ctrl-C; the same bits as without it
  dither train --resume runs/seven --steps 4000    further than planned
  dither train digits --device /dev/ttyUSB0        on a board
  dither train --resume runs/seven --device numpy  the same run on another machine
  dither train digits --device rtl --steps 1 --waves engine.vcd:4-4
  dither train digits --devices golden,golden,/dev/ttyUSB0   three devices share each step; the same bits
  dither train mnist --data ~/data/mnist           its files from a folder, rather than downloaded once
  dither train mnist --model mnist-mlp --engine 8x32-deep
  dither train mnist1d                             curves that the package mnist1d makes
  dither train japanese-vowels                     speakers, by a recurrent network; the package aeon has them
  dither train keywords                            ten words, which the program espeak-ng says first
  dither train hjb                                 a differential equation in 20 dimensions
  dither train hjb --stencil central:0.125
  dither train data.npz                            one's own arrays x and y; or data.csv, or a folder of IDX files
  dither train data.csv --model 128,64 --steps 2000
  dither train heat.py:Heat                        one's own equation, or task: FILE.py is run
  dither train runs/seven/run.toml --seed 8        all choices of a run, but one
  dither train moved/data.npz --resume runs/data-golden-1
""",
)
@click.argument("task", type=TASK, required=False)
@click.option(
    "--device",
    type=DEVICE,
    default="golden",
    show_default=True,
    help="Machine to run on, or the serial port of a board (serial:auto finds one); all give the same bits. golden is "
    "native, which a C++ compiler makes, or else numpy.",
)
@click.option(
    "--devices",
    type=DEVICES,
    metavar="A,B,...",
    help="Share each step among these devices, one process each; the bits are those of one. "
    "golden:4 stands for four of them.",
)
@click.option(
    "--cluster",
    metavar="ADDRESS",
    help="Where devices of other processes or computers may join in sharing steps, by dither worker; without "
    "--devices, they are all there are.  [default: any port of this computer]",
)
@click.option(
    "--tls",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="Certificates of the cluster: ca.pem, cert.pem, key.pem; only with them may others than this computer join.",
)
@click.option("--dashboard", is_flag=True, help=f"With --devices or --cluster: {DASHBOARD}")
@click.option(
    "--engine",
    type=ENGINE,
    metavar="NAME",
    help=f"Geometry: {', '.join(PRESETS)} or ROWSxLANES[@WORDS of parameters]. Decides cycles, never results.  "
    "[default: the board's, or the task's]",
)
@click.option(
    "--board",
    metavar="NAME|FILE",
    help="Engine of this board instead of --engine: --device golden and rtl then give the board's bits.",
)
@click.option(
    "--dry-run", is_flag=True, help="Only say whether it fits the engine, and what it takes there, as dither fit does."
)
@click.option(
    "--steps", type=click.IntRange(1, MOST_STEPS), metavar="N", help="Optimiser steps.  [default: the task's]"
)
@click.option(
    "--seed",
    type=click.IntRange(0, (1 << 32) - 1),
    metavar="N",
    default=1,
    show_default=True,
    help=WORDS["seed"],
)
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help=f"Take what no option says from this file, such as a run's {CONFIG}; dither train FILE does so too.",
)
@click.option("--out", type=click.Path(path_type=Path), help="New run folder.  [default: runs/TASK-DEVICE-N]")
@click.option(
    "--resume",
    type=click.Path(path_type=Path),
    metavar="RUN",
    help="Go on with this run; only --steps, --device, --data, and where its TASK is now, may be given with it.",
)
@click.option(
    "--log-every",
    type=click.IntRange(1, MOST_STEPS),
    metavar="N",
    help="Steps between evaluations.  [default: the task's]",
)
@click.option(
    "--checkpoint-every",
    type=click.IntRange(1, MOST_STEPS),
    metavar="N",
    default=200,
    show_default=True,
    help="Steps between checkpoints.",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help=f"Folder of the task's files.  [default: ${DATA_VARIABLE}, or downloaded into the user's cache]",
)
@click.option(
    "--data-of",
    type=DATA_OF,
    metavar="worker:N|FILE,...",
    help="Train on samples of several owners, of which each step takes equal parts: on what N workers have, which "
    "stays with them (dither worker --part), or on files. The task's own then decide number formats, and test.",
)
@click.option(
    "--model",
    "network",
    metavar="NAME|SIZES|FILE",
    help=f"Another network than the task's: {', '.join(MODELS)}, sizes of hidden layers such as 64,32, or a file with "
    "initial parameters.",
)
@click.option(
    "--stencil",
    metavar="SPEC",
    help="Derivatives of a differential equation: central:H, fourth:H, sparse:SIGMA[:LEVEL] or "
    "stein:SIGMA[:SAMPLES[:SEED]].",
)
@click.option(
    "--ranks", type=click.IntRange(1), metavar="N", help="Largest inner ranks of the network's tensor trains."
)
@click.option("--batch", type=click.IntRange(1), metavar="N", help=WORDS["batch"])
@click.option("--tile", type=click.IntRange(1), metavar="N", help=WORDS["tile"])
@click.option("--probes", type=PROBES, metavar="N[,N...]", help=WORDS["probes"])
@click.option(
    "--estimator",
    type=ESTIMATOR,
    metavar="NAME[,NAME...]",
    help=WORDS["estimator"],
)
@click.option("--distribution", type=click.Choice(DISTRIBUTIONS), help=WORDS["distribution"])
@click.option("--shrinkage", type=click.Choice(SHRINKAGES), help=WORDS["shrinkage"])
@click.option("--sides", type=click.Choice(SIDES), help=WORDS["sides"])
@click.option("--mu", type=float, metavar="X", help=WORDS["mu"])
@click.option("--activity-mu", type=float, metavar="X", help=WORDS["activity_mu"])
@click.option("--feedback-slowness", type=int, metavar="N", help=WORDS["feedback_slowness"])
@click.option(
    "--feedback-ranks",
    type=int,
    metavar="N",
    help=WORDS["feedback_ranks"],
)
@click.option("--local-loss", type=click.Choice(LOCAL_LOSSES), help=WORDS["local_loss"])
@click.option("--projection", type=float, metavar="X", help=WORDS["projection"])
@click.option("--hidden-headroom", type=int, metavar="N", help=WORDS["hidden_headroom"])
@click.option("--rule", type=click.Choice([rule.name.lower() for rule in Rule]), help=WORDS["rule"])
@click.option("--decay1", type=int, metavar="N", help=WORDS["decay1"])
@click.option("--decay2", type=int, metavar="N", help=WORDS["decay2"])
@click.option("--shared-probe", is_flag=True, default=None, help=WORDS["shared_probe"])
@click.option("--rate", type=float, metavar="X", help=WORDS["rate"])
@click.option("--schedule", type=click.Choice(SCHEDULES), help=WORDS["schedule"])
@click.option("--schedule-steps", type=click.IntRange(1), metavar="N", help=WORDS["schedule_steps"])
@click.option(
    "--then",
    multiple=True,
    metavar="PHASE",
    help="Go on with another recipe: after=STEPS or after=plateau:EVALUATIONS, then what changes, such as "
    "after=400,estimator=coordinate,rate=0.001 (numbers by layer: probes=1:4). May be given several times.",
)
@click.option(
    "--waves",
    type=WAVES,
    metavar="FILE:FIRST-LAST",
    help="Write waveforms of these device commands (--device rtl): 4 trains step 0.",
)
@answering("train")
@click.pass_context
def train(context: click.Context, /, resume: Path | None, answer: Answer, **options: Any) -> None:
    """Train TASK and write a run folder: run.json, curve.csv, history, checkpoints and report.html.

    Recipe options left out are the task's own. Ctrl-C ends the run after the chunk at work, with a
    checkpoint; a second Ctrl-C at once, with the last checkpoint there is.
    """
    console = answer.console(soft_wrap=True)
    _configure(context, options)
    if options["dry_run"]:
        from .fitting import show

        if resume is not None:
            raise click.UsageError("--resume goes on with a run that fits; --dry-run asks about a new one")
        context.exit(show(fresh(options), options["board"], answer))
    if resume is not None:
        experiment, run = _resumed(context, resume, options)
    else:
        experiment, run = fresh(options), None
        path = options["out"] or default_folder(experiment.name, "shared" if experiment.devices else experiment.device)
        RunFolder.refuse_used(path)
    prepared = None
    try:
        with refusals(), telling(console, "compiling") as tell:
            prepared = _prepared(experiment, options, console, tell, run)
        if run is None:
            run = RunFolder.create(path, prepared.describe(path))
            trainer = prepared.trainer(run)
            trainer.start()
        else:
            trainer = prepared.trainer(run)
            trainer.resume()
            run.update(
                steps=experiment.steps,
                device=prepared.experiment.device,
                devices=list(experiment.devices),
                board=prepared.board,
                command=prepared.experiment.command(run.path),
                source=prepared.source,
            )
        console.print(f"[bold]{escape(str(run.path))}[/]: {escape(prepared.summary())}", highlight=False)
        finished = _train(console, trainer)
        if finished:
            prepared.finish(run)
        _finish(context, console, run, finished, answer)
    except DeviceError as error:
        raise DeviceError(str(error).replace("--resume RUN", f"--resume {path if run is None else run.path}")) from None
    finally:
        if prepared is not None:
            prepared.close()
        if run is not None:
            run.close()


def _prepared(
    experiment: Experiment,
    options: dict[str, Any],
    console: Console,
    status: Callable[[str], None],
    run: RunFolder | None,
) -> Prepared:
    if not experiment.devices and options["cluster"] is None:
        if options["tls"] is not None or options["dashboard"]:
            name = "--dashboard" if options["tls"] is None else "--tls"
            raise click.UsageError(f"{name} is for steps that devices share; give --devices or --cluster, too")
        return prepare(experiment, options["waves"], status)
    if options["waves"] is not None:
        raise click.UsageError("--waves shows the commands of one device; use --device rtl, without --devices")
    from ..cluster.places import LOOPBACK
    from ..cluster.session import prepare_shared

    shared = {} if run is None else run.description.get("shared", {})
    return prepare_shared(
        experiment,
        address=options["cluster"] or LOOPBACK,
        tls=options["tls"],
        dashboard=options["dashboard"],
        known={int(part): said for part, said in shared.get("data", {}).items()},
        status=status,
        say=lambda text: console.print(escape(text), highlight=False),
    )


def fresh(options: dict[str, Any]) -> Experiment:
    """Returns the experiment that the options of a new run ask for."""
    if options["task"] is None:
        raise click.UsageError(f"which task? give one of: {', '.join(task_names())}; or {FORMS}")
    device, engine, board = options["device"], options["engine"], options["board"]
    if board is not None:
        if engine is not None:
            raise click.UsageError("--board brings an engine of its own; leave --engine out")
        engine = BOARD.convert(board, None, None).engine
    if is_line(device):
        engine = board_engine(device, engine)
    with refusals():
        experiment = Experiment.of_task(
            options["task"],
            device=device,
            engine=engine,
            steps=options["steps"],
            log_every=options["log_every"],
            checkpoint_every=options["checkpoint_every"],
            recipe={name: options[name] for name in RECIPE if options[name] is not None},
            stencil=options["stencil"],
            data=options["data"],
            network=options["network"],
            model=options.get("model"),
            then=options["then"],
            engine_of=board,
            ranks=options["ranks"],
        )
    experiment = replace(experiment, devices=options.get("devices") or (), data_of=tuple(options.get("data_of") or ()))
    return replace(experiment, board=engine) if is_line(device) else experiment


def _configure(context: click.Context, options: dict[str, Any]) -> None:
    """Adds to the options what a configuration file says and the command line does not."""
    file = options.pop("config")
    if file is None and (options["task"] or "").endswith(".toml"):
        file, options["task"] = options["task"], None
    if file is None:
        return
    values = read_config(file)
    recipe = values.pop("recipe", {})
    model = values.pop("model", None)
    if not _given(context, "network") and model is not None and "network" not in values:
        options["model"] = model
    if options["task"] is None:
        options["task"] = values["task"]
    for name in (*_CONFIGURED, *RECIPE):
        found = recipe if name in RECIPE else values
        if name in found and not _given(context, name):
            options[name] = found[name]
    if unknown := sorted(set(recipe) - set(RECIPE)):
        raise click.UsageError(f"{file}: the recipe has no field {unknown[0]!r}")


def _given(context: click.Context, name: str | None) -> bool:
    return context.get_parameter_source(name or "") is click.core.ParameterSource.COMMANDLINE


def _resumed(context: click.Context, path: Path, options: dict[str, Any]) -> tuple[Experiment, RunFolder]:
    given = [
        parameter.opts[0]
        for parameter in context.command.params
        if parameter.name not in _RESUMED and _given(context, parameter.name)
    ]
    if given:
        names = ", ".join(given)
        raise click.UsageError(f"--resume takes all but --steps, --device and --data from the run; leave out {names}")
    run = RunFolder.open(path, writing=True)
    with refusals():
        device = options["device"] if _given(context, "device") else None
        experiment = Experiment.of_run(run, options["steps"], options["data"], device, options["task"])
    return replace(experiment, devices=options["devices"] or experiment.devices), run


def _train(console: Console, trainer: Trainer) -> bool:
    """Trains and returns whether the last step was reached, rather than an interruption."""
    with (
        interruptions("ending after this chunk (Ctrl-C again: at once)") as interrupted,
        Display(console, trainer.step) as display,
    ):
        try:
            return trainer.train(report=display.show, stop=lambda: bool(interrupted))
        except KeyboardInterrupt:
            return False


def _finish(context: click.Context, console: Console, run: RunFolder, finished: bool, answer: Answer) -> None:
    from ..report import write_report

    page = write_report(run)
    last = run.curve()[-1]
    answer.values = {
        "run": run.path,
        "task": run.description["task"],
        "device": run.description["device"],
        "finished": finished,
        "step": last.step,
        "loss": last.loss,
        run.metric.name: last.metric,
        "digest": last.digest,
        "forwards": last.forwards,
        "seconds": run.description["progress"]["seconds"],
        "counters": run.description["progress"]["counters"],
        "report": page,
    }
    name = f"train {run.description['task']} on {run.description['device']}: {run.path}"
    answer.case(name, error=None if finished else "interrupted")
    if not finished:
        step = run.load_checkpoint().step
        print(
            f"dither: interrupted; step {step} is saved, go on with: dither train --resume {run.path}", file=sys.stderr
        )
        context.exit(INTERRUPTED)
    console.print(
        f"[bold green]done[/]: {run.metric.title} {run.metric.text(last.metric)}, loss {last.loss:.4g}, "
        f"digest {last.digest}",
        highlight=False,
    )
    console.print(f"report: {escape(str(page))}", highlight=False)
