"""A recurrent network by an evolution strategy in whole numbers: how far do sign perturbations go?

The network is ``mnist-rnn``: 160 states read an image's 28 rows, the last one decides. As in
EGGROLL (Sarkar et al., *Evolution Strategies at the Hyperscale*, arXiv 2511.16652), each member of
the population has every weight matrix moved by a matrix of low rank: here the outer product of two
sign vectors, times a power of two. Two members are moved to either side and see the same images;
what counts is which of the two does better, one bit a pair. Weights are integers of eight bits.
They move where the pairs' votes, which are added up from step to step, reach a threshold.

The update takes no multiplication: products of signs, sums, shifts and comparisons. Neither does a
perturbation: of an input x it makes plus or minus (x a) b, shifted, where x a is x summed up with
signs. The forward pass of the unmoved weights alone multiplies, and not even that with states and
pixels of one bit (``signs``).

Settings are chosen on a sixth of the training images; then the test images judge. Everything goes
to a file, a line a run, and the same command goes on where it was stopped:

    python examples/evolution.py evolution.csv
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dither.train.task import Task
from dither.train.tasks import load_task

Whole = NDArray[np.float32]
"""Whole numbers below 2**24, which float32 holds, adds and multiplies without rounding: so a matrix
product of integers is as fast as BLAS makes it."""

ROWS, ROW, STATES, CLASSES = 28, 28, 160, 10
ONE = 127
"""The largest state, which stands for 1; the bias is the weight of this number."""
FRACTION = 8
"""Fraction bits of a weight."""
LARGEST = 127
"""The largest weight, about a half."""
MARGIN = 1 << 15
"""A class that leads by so much, about 1, counts no more."""
BLOCK = 512
"""Images of one matrix product, which stay in the cache."""


@dataclass(frozen=True)
class Run:
    """A run: what it is asked for, and how well it does."""

    purpose: str
    """``tuning`` or ``test``."""
    forwards: int
    """Image forwards in training; a pair takes two for each of its images."""
    pairs: int
    """Pairs of members in a step."""
    images: int
    """Images that a pair sees."""
    move: int
    """A member's weights are moved by 2**move units."""
    threshold: int
    """Votes that move a weight by a unit, as a power of two; twice as many in the third quarter of
    the run, four times as many in the last."""
    orthogonal: bool
    """Whether states begin with an orthogonal recurrence."""
    signs: bool
    """Whether states and pixels have one bit."""
    seed: int
    accuracy: float = 0.0


def product(left: NDArray[Any], right: NDArray[Any]) -> Whole:
    """Returns a matrix product of whole numbers.

    :raises ValueError: if a sum might be too large for float32 to be exact.
    """
    bound = left.shape[-1] * float(np.abs(left).max(initial=0)) * float(np.abs(right).max(initial=0))
    if bound >= 1 << 24:
        raise ValueError(f"sums of {bound:.0f} are beyond what float32 holds")
    return np.asarray(left @ right)


def random_signs(rng: np.random.Generator, *shape: int) -> Whole:
    """Returns plus and minus ones."""
    return (2 * rng.integers(0, 2, shape, np.int8) - 1).astype(np.float32)


@dataclass
class Net:
    """The network's weights: ``[h, x, 1] -> h`` and ``[h, 1] -> outputs``."""

    recurrence: Whole
    readout: Whole
    signs: bool

    @classmethod
    def random(cls, rng: np.random.Generator, orthogonal: bool, signs: bool) -> Net:
        """Returns initial weights: uniform within one over the root of the states."""
        reach = round(2**FRACTION / STATES**0.5)
        recurrence, readout = (
            rng.integers(-reach, reach + 1, (rows, columns)).astype(np.float32)
            for rows, columns in ((STATES + ROW + 1, STATES), (STATES + 1, CLASSES))
        )
        if orthogonal:
            matrix, _ = np.linalg.qr(rng.normal(size=(STATES, STATES)))
            recurrence[:STATES] = np.clip(np.rint(matrix * 2**FRACTION), -LARGEST, LARGEST)
        return cls(recurrence, readout, signs)

    def pixels(self, inputs: NDArray[np.float64]) -> Whole:
        """Returns samples in ±1 as whole numbers."""
        if self.signs:
            return np.where(inputs > 0, np.float32(ONE), np.float32(-ONE))
        return np.rint(inputs * ONE).astype(np.float32)

    def outputs(self, pixels: Whole, moves: Moves | None = None, side: int = 0) -> Whole:
        """Returns the outputs for some images, 2**FRACTION times ONE standing for 1.

        :param pixels: shape (images, pixels).
        :param moves: one for each image, if weights are moved.
        :param side: to which side, 1 or -1.
        """
        inputs = np.zeros((len(pixels), STATES + ROW + 1), np.float32)
        inputs[:, -1] = ONE
        for row in range(ROWS):
            inputs[:, STATES:-1] = pixels[:, row * ROW : (row + 1) * ROW]
            sums = product(inputs, self.recurrence)
            if moves is not None:
                moves.add(0, sums, inputs, side)
            if self.signs:
                inputs[:, :STATES] = np.where(sums >= 0, np.float32(ONE), np.float32(-ONE))
            else:
                sums *= 2.0**-FRACTION
                np.clip(np.floor(sums, out=sums), -ONE, ONE, out=inputs[:, :STATES])
        last = np.delete(inputs, np.s_[STATES:-1], axis=1)
        outputs = product(last, self.readout)
        if moves is not None:
            moves.add(1, outputs, last, side)
        return outputs

    def accuracy(self, pixels: Whole, labels: NDArray[np.int64]) -> float:
        """Returns the share of images whose class leads."""
        blocks = range(0, len(pixels), BLOCK)
        found = np.concatenate([self.outputs(pixels[first : first + BLOCK]).argmax(axis=1) for first in blocks])
        return float(np.mean(found == labels))


@dataclass
class Moves:
    """Moves of both matrices, one for each of some images: pairs of sign vectors."""

    left: tuple[Whole, Whole]
    right: tuple[Whole, Whole]
    size: int

    def add(self, number: int, sums: Whole, inputs: Whole, side: int) -> None:
        """Adds what the moves of one matrix make of its inputs."""
        along = np.einsum("nk,nk->n", inputs, self.left[number])
        sums += (side * self.size * along)[:, None] * self.right[number]

    def part(self, first: int, last: int, images: int) -> Moves:
        """Returns the moves of some images, each pair seeing so many of them."""
        rows = np.arange(first, last) // images
        left, right = ((each[0][rows], each[1][rows]) for each in (self.left, self.right))
        return Moves(left, right, self.size)


def fitness(outputs: Whole, labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Returns by how much the right class leads the best of the others, MARGIN at most."""
    rows = np.arange(len(labels))
    others = outputs.copy()
    others[rows, labels] = -np.inf
    return np.minimum(outputs[rows, labels] - others.max(axis=1), MARGIN).astype(np.int64)


class Evolution:
    """A run's training."""

    def __init__(self, run: Run, inputs: NDArray[np.float64], labels: NDArray[np.int64]) -> None:
        self.run, self.labels = run, labels
        self.rng = np.random.default_rng(run.seed)
        self.net = Net.random(self.rng, run.orthogonal, run.signs)
        self.pixels = self.net.pixels(inputs)
        self.votes = [np.zeros(each.shape, np.int64) for each in (self.net.recurrence, self.net.readout)]
        self.steps = max(1, run.forwards // (2 * run.pairs * run.images))

    def train(self) -> None:
        """Runs all steps."""
        for step in range(self.steps):
            self.step(max(0, 4 * step // self.steps - 1))

    def step(self, later: int) -> None:
        """Runs a step.

        :param later: doublings of the threshold.
        """
        run, rng = self.run, self.rng
        chosen = rng.integers(0, len(self.pixels), run.pairs * run.images)
        shapes = self.net.recurrence.shape, self.net.readout.shape
        left, right = (tuple(random_signs(rng, run.pairs, shape[axis]) for shape in shapes) for axis in (0, 1))
        moves = Moves((left[0], left[1]), (right[0], right[1]), 1 << run.move)
        better = np.zeros(len(chosen), np.int64)
        for first in range(0, len(chosen), BLOCK):
            images = chosen[first : first + BLOCK]
            part = moves.part(first, first + len(images), run.images)
            up, down = (
                fitness(self.net.outputs(self.pixels[images], part, side), self.labels[images]) for side in (1, -1)
            )
            better[first : first + len(images)] = up - down
        winners = np.sign(better.reshape(run.pairs, run.images).sum(axis=1)).astype(np.float32)
        for number, weights in enumerate((self.net.recurrence, self.net.readout)):
            votes = self.votes[number]
            votes += product((winners[:, None] * left[number]).T, right[number]).astype(np.int64)
            steps = np.sign(votes) * (np.abs(votes) >> run.threshold + later)
            votes -= steps << run.threshold + later
            np.clip(weights + steps, -LARGEST, LARGEST, out=weights, casting="unsafe")


CHEAP, DEAR = 307_200, 4 * 307_200
"""Image forwards of a run: as many as the record tpsgd-rnn has, and four times as many."""
BLANK = Run("tuning", CHEAP, 64, 4, 1, 4, orthogonal=True, signs=False, seed=101)
FIRST = tuple(
    replace(BLANK, forwards=61_440, pairs=pairs, images=images, move=move, threshold=threshold, **kind)
    for pairs, images, move, threshold, kind in (
        (256, 1, 1, 4, {"orthogonal": False}),
        (256, 1, 2, 4, {"orthogonal": False}),
        (256, 1, 3, 4, {"orthogonal": False}),
        (256, 1, 0, 4, {}),
        (256, 1, 1, 4, {}),
        (256, 1, 1, 5, {}),
        (256, 1, 2, 4, {}),
        (64, 1, 1, 3, {}),
        (64, 1, 0, 4, {}),
        (256, 4, 1, 3, {}),
        (256, 1, 0, 4, {"signs": True}),
        (256, 1, 1, 4, {"signs": True}),
        (256, 1, 3, 4, {"signs": True}),
    )
)
"""Short runs, which say what is worth a longer one."""
SECOND = tuple(
    replace(BLANK, pairs=pairs, images=images, move=move, threshold=threshold)
    for pairs, images, move, threshold in (
        (256, 1, 0, 5),
        (256, 1, 1, 5),
        (256, 4, 0, 4),
        (256, 4, 1, 4),
        (128, 4, 1, 4),
        (128, 4, 1, 5),
        (64, 2, 1, 5),
        (64, 4, 1, 4),
        (64, 4, 1, 5),
        (64, 8, 1, 4),
        (64, 16, 1, 2),
        (32, 4, 1, 4),
        (32, 8, 1, 4),
        (32, 16, 1, 4),
        (16, 8, 1, 3),
        (16, 8, 1, 4),
        (16, 16, 1, 3),
    )
)
SEEDS = (1, 2, 3)


class Study:
    """All runs, those that were made before read from the file.

    :param path: file with a line for each run.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._samples: dict[str, tuple[NDArray[Any], ...]] = {}
        self.done: dict[Run, Run] = {}
        if path.exists():
            types: dict[str, Any] = {"purpose": str, "accuracy": float}
            truths = ("orthogonal", "signs")
            for row in csv.DictReader(path.open()):
                values = {
                    name: row[name] == "True" if name in truths else types.get(name, int)(row[name]) for name in row
                }
                run = Run(**values)
                self.done[replace(run, accuracy=0.0)] = run

    def samples(self, purpose: str) -> tuple[NDArray[Any], ...]:
        """Returns training inputs and labels, and those that judge: of ``tuning``, every sixth
        training image.
        """
        if not self._samples:
            task = load_task("mnist")
            assert isinstance(task, Task)
            held, train = np.arange(len(task.train)) % 6 == 0, task.train
            self._samples = {
                "tuning": (train.inputs[~held], train.labels[~held], train.inputs[held], train.labels[held]),
                "test": (train.inputs, train.labels, task.test.inputs, task.test.labels),
            }
        return self._samples[purpose]

    def run(self, wanted: Run) -> Run:
        """Returns a run with its result, which is made unless it is in the file."""
        if wanted not in self.done:
            inputs, labels, others, right = self.samples(wanted.purpose)
            evolution = Evolution(wanted, inputs, labels)
            evolution.train()
            net = evolution.net
            done = self.done[wanted] = replace(wanted, accuracy=net.accuracy(net.pixels(others), right))
            new = not self.path.exists()
            with self.path.open("a", newline="") as file:
                writer = csv.DictWriter(file, [field.name for field in fields(Run)], lineterminator="\n")
                if new:
                    writer.writeheader()
                writer.writerow(asdict(done))
            print(done, flush=True)
        return self.done[wanted]

    def results(self) -> Iterator[Run]:
        """Yields the test runs, of the settings that are best on the images held back. The dear run
        has a threshold that is twice as high.
        """
        for run in FIRST:
            self.run(run)
        chosen = replace(max(map(self.run, SECOND), key=lambda run: run.accuracy), purpose="test", accuracy=0.0)
        for seed in SEEDS:
            yield self.run(replace(chosen, seed=seed))
        yield self.run(replace(chosen, forwards=DEAR, threshold=chosen.threshold + 1, seed=SEEDS[0]))


def main(path: Path) -> None:
    """Makes all runs that are missing, and prints those that the test images judge."""
    for run in Study(path).results():
        print(f"{run.forwards:>10,} forwards, seed {run.seed}: {run.accuracy:.2%}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
