"""Trains over a line that misbehaves and compares every curve with the golden machine's."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..arch.config import EngineConfig
from ..arch.device import Device, DeviceError
from ..golden import GoldenMachine
from ..link.driver import LinkDevice
from ..link.faults import DriverKilled, FaultyTransport
from ..runs import RunFolder
from .experiment import Experiment
from .prepared import Prepared
from .session import Session
from .tasks import load_task

__all__ = ["Line", "Outcome", "soak"]

_ATTEMPTS = 1000
"""Number of failed attempts at one run after which something is wrong with the line itself."""

Line = Callable[[np.random.Generator, Counter[str]], FaultyTransport]
"""Function that opens the line, with faults.

It is called again after each failure of a driver, when the line must be whole again.
"""


@dataclass(slots=True)
class Outcome:
    """Result of a soak: what was injected and what came of it."""

    faults: Counter[str] = field(default_factory=Counter)
    """Number of faults injected, by kind and direction."""
    runs: int = 0
    """Number of runs trained to their end.

    All of them have the golden curve, or :func:`soak` would have raised.
    """
    errors: Counter[str] = field(default_factory=Counter)
    """Number of drivers that ended with a message, or were killed, by message."""
    resumed: int = 0
    """Number of runs that went on from a checkpoint."""
    resent: int = 0
    """Number of requests sent again."""

    def report(self) -> str:
        """Returns the outcome as a few lines for people."""
        lines = [
            f"{self.faults.total()} faults in {self.runs} runs, every curve golden; {self.resent} requests sent again",
            f"{self.errors.total()} drivers ended early, {self.resumed} runs went on from a checkpoint",
        ]
        for title, counts in (("faults", self.faults), ("ends", self.errors)):
            lines.append(f"{title}:")
            lines += [f"  {count:6d}  {name}" for name, count in counts.most_common()]
        return "\n".join(lines)


class _Work:
    """One short training run, to be repeated again and again."""

    def __init__(self, config: EngineConfig, steps: int) -> None:
        self.experiment = Experiment.of_task(
            "digits",
            device="golden",
            engine=config,
            steps=steps,
            log_every=2,
            checkpoint_every=2,
            recipe={"batch": 16, "tile": 8, "probes": 1, "seed": 1},
        )
        self.task = load_task("digits")
        self.compiled = self.experiment.compile(self.task, config)
        self.config = config

    def train(self, device: Device, folder: Path) -> bool:
        """Begins the run or goes on with it, to its end, and returns whether it went on."""
        prepared = Prepared(self.experiment, self.task, Session(device, self.compiled))
        if resumed := folder.exists() and any((folder / "checkpoints").glob("*.npz")):
            run = RunFolder.open(folder)
        else:
            shutil.rmtree(folder, ignore_errors=True)
            run = RunFolder.create(folder, prepared.describe())
        # A driver that is killed gives the folder back, as a process' death would.
        with closing(run):
            trainer = prepared.trainer(run)
            if resumed:
                trainer.resume()
            else:
                trainer.start()
            trainer.train(report=lambda progress: None, stop=lambda: False)
        return resumed


def soak(
    open_line: Line,
    config: EngineConfig,
    *,
    faults: int,
    seed: int = 1,
    steps: int = 4,
    patience: float = 20.0,
    shortest_timeout: float = 0.03,
    tell: Callable[[Outcome], None] = lambda outcome: None,
) -> Outcome:
    """Trains digits over a faulty line until at least ``faults`` faults have happened.

    :param open_line: opens the line to the board.
    :param config: configuration of the board's engine.
    :param faults: number of faults; the run at hand is finished before the end.
    :param seed: seed of the faults.
    :param steps: number of training steps of a run.
    :param patience: the drivers' patience in seconds.
    :param shortest_timeout: the drivers' least time in seconds to wait for an answer.
    :param tell: called after each run.
    :raises AssertionError: if a run ends with another curve than the golden machine's, or never
        ends.
    """
    work, random, outcome = _Work(config, steps), np.random.default_rng(seed), Outcome()
    with tempfile.TemporaryDirectory() as root:
        golden, folder = Path(root) / "golden", Path(root) / "run"
        work.train(GoldenMachine(config), golden)
        wanted = _result(golden)
        while outcome.faults.total() < faults:
            for _ in range(_ATTEMPTS):
                if _attempt(work, open_line, random, outcome, folder, patience, shortest_timeout):
                    break
            else:
                raise AssertionError(f"no driver came to the end of a run in {_ATTEMPTS} attempts\n{outcome.report()}")
            if _result(folder) != wanted:
                raise AssertionError(f"a run ended with another curve than the golden machine's\n{outcome.report()}")
            outcome.runs += 1
            shutil.rmtree(folder)
            tell(outcome)
    return outcome


def _attempt(
    work: _Work,
    open_line: Line,
    random: np.random.Generator,
    outcome: Outcome,
    folder: Path,
    patience: float,
    shortest_timeout: float,
) -> bool:
    """Lets one driver train and returns whether it came to the end of the run."""
    line = open_line(random, outcome.faults)
    device = None
    try:
        device = LinkDevice(line, work.config, patience=patience, shortest_timeout=shortest_timeout)
        outcome.resumed += work.train(device, folder)
    except DeviceError as error:
        outcome.errors[str(error).removeprefix(f"{line.name}: ")] += 1
        return False
    except DriverKilled:
        outcome.errors["killed"] += 1
        return False
    finally:
        if device is not None:
            outcome.resent += device.statistics.resent
        line.close()
    return True


def _result(folder: Path) -> tuple[str, bytes]:
    """Returns the bits that a run left behind: curve and history."""
    return (folder / "curve.csv").read_text("utf-8"), (folder / "history").read_bytes()
