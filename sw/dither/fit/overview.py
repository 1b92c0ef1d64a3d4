"""What every board learns: for each task the best recorded result that its engine can repeat."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from ..arch.config import EngineConfig
from ..boards import Board
from ..tools.cache import digest
from ..train.experiment import Experiment
from ..train.tasks import TrainingTask, load_task
from .assess import Assessment
from .finding import Finding, examine, fitting_phases
from .recorded import Known, known_results

__all__ = ["Cell", "overview", "overview_digest"]


@dataclass(frozen=True, slots=True)
class Cell:
    """What one board does with one task."""

    board: Board
    """Board that is to learn it."""
    task: str
    """Name of the task."""
    finding: Finding | None
    """What the best recorded result takes there; None if no recorded recipe fits the engine."""

    @property
    def known(self) -> Known | None:
        """The recorded result; None if no recorded recipe fits the engine."""
        return None if self.finding is None else self.finding.known

    @property
    def seconds(self) -> float | None:
        """Seconds of the whole recorded training on the board."""
        return None if self.finding is None or self.known is None else self.finding.seconds(self.known.steps)


def overview(
    boards: Mapping[str, Board], tasks: Iterable[str], status: Callable[[str], None] = lambda text: None
) -> list[Cell]:
    """Returns what each board does with each task, board by board.

    Recorded results count for engines of the same number formats alone, since others give other
    bits. Of those that fit, the best one is taken, and of equals the one that takes less time.

    :param boards: boards by name.
    :param tasks: names of the tasks.
    :param status: called with what is going on, as it takes long.
    :raises TaskError: if a task's data cannot be had.
    """
    cells = []
    for name in tasks:
        found: dict[str, list[Finding]] = {board: [] for board in boards}
        for known in known_results():
            if known.task != name:
                continue
            status(f"{name}: {known.title}")
            task = load_task(name, known.stencil)
            engines = dict[EngineConfig, tuple[Assessment, ...] | None]()
            for board in boards.values():
                experiment = _experiment(known, task, board)
                if not known.alike(experiment):
                    continue
                if board.engine not in engines:
                    engines[board.engine] = fitting_phases(experiment, task)
                if (phases := engines[board.engine]) is not None:
                    result = examine(experiment, task, board, phases)
                    found[board.name].append(replace(result, known=known))
        cells += [Cell(board, name, _best(found[board.name])) for board in boards.values()]
    order = list(boards)
    return sorted(cells, key=lambda cell: order.index(cell.board.name))


def overview_digest(boards: Mapping[str, Board]) -> str:
    """Returns a digest of the boards and records that :func:`overview` depends on."""
    facts = [
        [
            name,
            board.engine.to_dict(),
            board.clock.hz,
            board.uart.baud,
            board.link.input_bytes,
            board.memory is not None,
        ]
        for name, board in boards.items()
    ]
    records = [[known.name, known.options, known.curve, known.numerics] for known in known_results()]
    return digest(facts, records)[:16]


def _experiment(known: Known, task: TrainingTask, board: Board) -> Experiment:
    recipe = known.phases[0].recipe
    return Experiment(
        task=known.task,
        model=known.model,
        recipe=recipe,
        engine=board.engine,
        device="golden",
        steps=known.steps,
        log_every=task.log_every,
        checkpoint_every=known.steps,
        phases=known.phases if len(known.phases) > 1 else (),
        stencil=known.stencil,
    )


def _best(found: list[Finding]) -> Finding | None:
    def order(each: Finding) -> tuple[float, float]:
        assert each.known is not None
        worth = each.known.final if each.known.metric.lower else -each.known.final
        return worth, each.seconds(each.known.steps) or 0.0

    return min(found, key=order, default=None)
