"""Train neural networks without back-propagation, on an open FPGA engine, with open tools.

What a program of one's own needs stands here; each name is imported when it is first used:

>>> from dither import Dense, GoldenMachine, Model, Recipe, Session, compile, engine
>>> model = Model((Dense(64, 32), Dense(32, 10)))
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .api.run import Run as Run
    from .api.run import load_run as load_run
    from .api.training import train as train
    from .arch.config import EngineConfig as EngineConfig
    from .arch.config import engine as engine
    from .boards import Board as Board
    from .boards import board as board
    from .compiler import Collocation as Collocation
    from .compiler import Compiled as Compiled
    from .compiler import CompileError as CompileError
    from .compiler import Labelled as Labelled
    from .compiler import compile as compile
    from .devices import build_device as build_device
    from .golden import GoldenMachine as GoldenMachine
    from .native import NativeMachine as NativeMachine
    from .nn.models import RNN as RNN
    from .nn.models import Conv2d as Conv2d
    from .nn.models import Dense as Dense
    from .nn.models import Model as Model
    from .nn.models import TensorTrain as TensorTrain
    from .nn.network import Network as Network
    from .physics import Problem as Problem
    from .physics import Stencil as Stencil
    from .physics import parse_stencil as parse_stencil
    from .pytorch import from_torch as from_torch
    from .pytorch import to_torch as to_torch
    from .recipe import Recipe as Recipe
    from .runs import RunFolder as RunFolder
    from .runs.compare import compare as compare
    from .train.equations import EquationTask as EquationTask
    from .train.experiment import Experiment as Experiment
    from .train.prepared import prepare as prepare
    from .train.session import Session as Session
    from .train.task import Task as Task
    from .train.tasks import load_task as load_task

_MODULES = {
    "api.run": "Run load_run",
    "api.training": "train",
    "arch.config": "EngineConfig engine",
    "boards": "Board board",
    "compiler": "Collocation Compiled CompileError Labelled compile",
    "devices": "build_device",
    "golden": "GoldenMachine",
    "native": "NativeMachine",
    "nn.models": "RNN Conv2d Dense Model TensorTrain",
    "nn.network": "Network",
    "physics": "Problem Stencil parse_stencil",
    "pytorch": "from_torch to_torch",
    "recipe": "Recipe",
    "runs": "RunFolder",
    "runs.compare": "compare",
    "train.equations": "EquationTask",
    "train.experiment": "Experiment",
    "train.prepared": "prepare",
    "train.session": "Session",
    "train.task": "Task",
    "train.tasks": "load_task",
}
_HOME = {name: module for module, names in _MODULES.items() for name in names.split()}

__all__ = sorted(_HOME)


class _Callable(ModuleType):
    """The package ``dither.train``, which can be called as well: ``dither.train(x, y)``."""

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """Trains a network; see :func:`dither.api.training.train`."""
        return import_module(".api.training", __name__).train(*arguments, **options)


# Whoever imports one of its modules makes the package an attribute of this one, in place of a
# function of the same name. So the package itself is what people call.
import_module(".train", __name__).__class__ = _Callable

if not TYPE_CHECKING:  # which would else take any name for one that is here

    def __getattr__(name: str) -> Any:
        if name not in _HOME:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found = globals()[name] = getattr(import_module(f".{_HOME[name]}", __name__), name)
        return found


def __dir__() -> list[str]:
    return [*globals(), *__all__]
