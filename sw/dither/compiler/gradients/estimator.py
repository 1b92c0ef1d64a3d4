"""What an estimator is: one way to the gradients of some layers' tensors.

The compiler knows estimators by this interface alone. It asks each of them what it needs, gives
everything a place, and takes its code. A file of this package holds one estimator;
:func:`register` makes it known, to recipes too.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ...arch.fixedpoint import FixedPoint
from ...arch.isa.assembler import Assembler
from ...recipe import ESTIMATORS, Traits
from ..errors import CompileError
from ..formats.forward import Formats
from ..formats.probes import FloatProbes
from ..layout.memory import ActivationMap, LayerUse, Moment
from ..layout.tensors import Layout, Tensor
from ..objectives.objective import ObjectiveCode, Start
from ..plan.setting import Setting
from ..rates import Stepping

__all__ = ["REGISTERED", "Estimator", "GradientCode", "Pass", "Places", "Sharing", "estimators", "register"]

Pass = tuple[int, int, int]
"""Forward passes of every lane group: the layer and step that they start at, and how many."""
_BLOCKS = 1 << 20


class Sharing(Enum):
    """Which transposed weights share words of the weight memory. The more do, the more often they
    are written.
    """

    NONE = "none"
    """All have words of their own and are written once a step."""
    LAYERS = "layers"
    """Layers share words: each writes its own for every lane group."""
    ALL = "all"
    """A layer's own and those of its learned matrix share words too, and are written whenever they
    are needed."""


class GradientCode(ABC):
    """A way to the gradients of some tensors, as code."""

    @property
    @abstractmethod
    def start(self) -> Start:
        """The earliest layer and step that it overwrites anything behind."""

    @property
    def passes(self) -> Sequence[Pass]:
        """Forward passes that it takes, next to the base pass."""
        return ()

    @property
    def macs(self) -> int:
        """Useful multiply-accumulates per sample besides its forward passes."""
        return 0

    def prepare(self, asm: Assembler) -> None:
        """Emits what is done once, before a step's first lane group; nothing, for most."""
        return

    @abstractmethod
    def emit(self, asm: Assembler) -> None:
        """Emits what adds the lane group at work to the gradients, behind its base pass and
        loss.
        """


@dataclass(slots=True, kw_only=True)
class Places:
    """Where everything stands that an estimator's code uses.

    Behind the tensors of a program, estimators get words of the weight memory, and blocks of the
    generator for their signs, in the order that they ask for them.
    """

    objective: ObjectiveCode
    memory: ActivationMap
    tensors: Mapping[str, Tensor]
    constants: Mapping[int, int]
    """Activation words of constants, by value."""
    free: int
    """The first word of the weight memory that nobody has asked for yet."""
    block: int
    """The first generator block that nobody has asked for yet."""
    sharing: Sharing = Sharing.NONE
    """Which transposed weights share words."""
    shared: int = 0
    """How many words of the weight memory they share."""
    zeroed: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    """What :meth:`Estimator.zeroed` asked for, by the estimator's first layer: first words and
    first generator blocks."""

    def region(self, name: str) -> int:
        """The first word of a region of activation memory."""
        return self.memory.extra[name].base

    def words(self, count: int) -> int:
        """Reserves words of the weight memory; the first one."""
        base, self.free = self.free, self.free + count
        return base

    def transposes(self, *groups: Sequence[int]) -> list[list[int]]:
        """Reserves words of the weight memory for the transposed weights of one layer.

        :param groups: sizes of those that are needed together, such as those of the layer itself
            and those of its learned matrix.
        :returns: the first words of each.
        """
        found, before = [], self.free
        for sizes in groups:
            first = before if self.sharing is Sharing.ALL else self.free
            found.append([first + behind for behind in itertools.accumulate((0, *sizes))][:-1])
            self.free = max(self.free, first + sum(sizes))
        if self.sharing is not Sharing.NONE:
            self.shared = max(self.shared, self.free - before)
            self.free = before
        return found

    @property
    def end(self) -> int:
        """The first word of the weight memory behind all that was asked for."""
        return self.free + self.shared

    def signs(self, bits: int) -> int:
        """Reserves blocks of the generator, for so many signs; the first one."""
        block, self.block = self.block, self.block + -(-bits // 64) + 1
        if self.block > _BLOCKS:
            raise CompileError("generator: too many blocks of signs needed; use smaller layers")
        return block


class Estimator(ABC):
    """A way to the gradients of some layers' tensors: what it needs, and its code.

    :param setting: what is compiled.
    :param formats: number formats; those of its own, and gradient shifts, come later.
    :param layers: positions of the layers that it serves: one, or all of the network's.
    :param probes: the recipe's number of probes for them.
    """

    name: ClassVar[str]
    """What recipes call it."""
    measured: ClassVar[bool] = False
    """Whether a step on the golden machine tells how large its gradients become, and thereby
    UPDATE's first shifts, rather than :meth:`shifts`."""

    def __init__(self, setting: Setting, formats: Formats, layers: tuple[int, ...], probes: int) -> None:
        self.setting, self.formats, self.layers, self.probes = setting, formats, layers, probes
        self.recipe, self.width = setting.recipe, formats.width

    @property
    def names(self) -> list[str]:
        """The tensors of its layers, in the model's order."""
        return [name for name in self.setting.model.parameter_shapes() if int(name.split(".")[0]) in self.layers]

    def shifts(self, floats: FloatProbes) -> dict[str, int]:
        """UPDATE's first shift by tensor, from probes of the float network."""
        return {}

    def terms(self, name: str) -> int:
        """How many probes a tensor's gradient is the sum of."""
        return 1

    def planned(self) -> list[tuple[Sequence[str], int]]:
        """Tensors that are perturbed together, and how many forward passes that takes: what the
        memory planner keeps intermediates for.
        """
        return []

    @abstractmethod
    def moments(self) -> list[Moment]:
        """The parts of its code, in their order: when it needs which words of activation memory."""

    def uses(self) -> dict[int, LayerUse]:
        """How it reads layers backwards, by position; nothing, for most."""
        return {}

    def constants(self) -> set[int]:
        """Values that must stand in words of the activation memory."""
        return set()

    def regions(self) -> dict[str, int]:
        """Words of activation memory by name that keep what they hold from the loss on; regions of
        one name are shared by all estimators.
        """
        return {}

    def matrices(self) -> dict[str, tuple[Layout, FixedPoint]]:
        """Layouts and formats of tensors that it trains besides the model's."""
        return {}

    def initial(self) -> dict[str, NDArray[np.float64]]:
        """Initial values of these tensors, of those that do not begin at zero."""
        return {}

    def zeroed(self) -> list[tuple[int, int]]:
        """What it perturbs besides tensors: words of the weight memory, over masters of zero, and
        the signs that it writes them with.
        """
        return []

    @abstractmethod
    def steppings(self) -> dict[str, Stepping]:
        """How steps move each of its tensors, those of :meth:`matrices` included."""

    @abstractmethod
    def codes(self, places: Places) -> Sequence[GradientCode]:
        """Returns its code, once everything has a place."""


REGISTERED: dict[str, type[Estimator]] = {}
"""All estimators that the compiler knows, by name; :func:`register` adds to it."""


def register(estimator: type[Estimator], traits: Traits | None = None) -> None:
    """Makes an estimator known to recipes and to the compiler, by its :attr:`Estimator.name`.

    :param traits: what recipes have to know of it; those in
        :data:`dither.recipe.ESTIMATORS` if None.
    :raises ValueError: if another estimator has that name, or nobody knows its traits.
    """
    name = estimator.name
    if REGISTERED.get(name, estimator) is not estimator or (traits and ESTIMATORS.get(name, traits) != traits):
        raise ValueError(f"there is another estimator called {name!r}; choose another name")
    if traits is None and name not in ESTIMATORS:
        raise ValueError(f"recipes do not know {name!r}; give its traits")
    ESTIMATORS.setdefault(name, traits or Traits())
    REGISTERED[name] = estimator


def estimators(setting: Setting, formats: Formats) -> tuple[Estimator, ...]:
    """The recipe's estimators: one a layer, or a single one for all layers.

    :raises ValueError: if the recipe names another number of layers than there are.
    """
    served = setting.recipe.by_layer(len(setting.plans))
    name, probes = served[0]
    if ESTIMATORS[name].alone:
        return (REGISTERED[name](setting, formats, tuple(range(len(served))), probes),)
    return tuple(
        REGISTERED[name](setting, formats, (position,), probes) for position, (name, probes) in enumerate(served)
    )
