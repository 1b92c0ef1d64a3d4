"""Where tasks of one's own come from: a file or folder of samples, or a file of Python code.

A file of code holds a :class:`~dither.train.task.Task`, an
:class:`~dither.train.equations.EquationTask`, a :class:`~dither.physics.Problem` (or its class), or
a function without arguments that returns one of these. It is the user's own program and is run as
such; :mod:`dither.tools.trust` says when.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import inspect
import re
import sys
import traceback
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..data import DataError, read_samples
from ..physics import Problem, parse_stencil
from ..tools import trust
from .equations import EquationTask
from .own import equation_task, labelled_task
from .task import Task, TaskError

__all__ = ["Source", "load_own"]

_CODE = re.compile(r"(?P<path>.+\.py)(?::(?P<part>[A-Za-z_]\w*))?")


@dataclass(frozen=True, slots=True)
class Source:
    """Where a task of one's own comes from."""

    path: Path
    """File or folder that holds the task."""
    part: str | None = None
    """Name in a file of code."""

    @classmethod
    def of(cls, text: str) -> Source | None:
        """Returns the source that a text names, ``PATH`` or ``PATH.py:NAME``; None if it is a bare
        name.

        What has neither a suffix nor a folder's separator, and is no folder, is a bare name.
        """
        if match := _CODE.fullmatch(text):
            return cls(Path(match["path"]), match["part"])
        path = Path(text)
        named = path.suffix in (".npz", ".csv", ".toml") or len(path.parts) > 1 or path.is_dir()
        return cls(path) if named else None

    def __str__(self) -> str:
        return str(self.path) if self.part is None else f"{self.path}:{self.part}"

    @property
    def code(self) -> bool:
        """Whether it is a file of code."""
        return self.path.suffix == ".py"


def load_own(source: Source, stencil: str | None = None) -> Task | EquationTask:
    """Loads a task of one's own.

    :param stencil: how derivatives are taken, if other than the task does, for a differential
        equation.
    :raises TaskError: if it cannot be used, or is code that the user has not named in its present
        state.
    """
    if source.code:
        return _of_code(source, stencil)
    if stencil is not None:
        raise TaskError(f"{source} is no differential equation; leave the stencil out")
    if (source.path / "run.json").exists():
        raise TaskError(f"{source} is a run's folder; --resume {source} goes on with it, {source}/run.toml begins anew")
    try:
        samples = read_samples(source.path)
        return labelled_task(samples.name or _name(source.path), samples, str(source))
    except DataError as error:
        raise TaskError(str(error)) from None


def _name(path: Path) -> str:
    return re.sub(r"[^\w.]+", "-", path.resolve().stem).strip("-.") or "data"


_loaded: dict[tuple[Path, str | None, str | None, bytes], Task | EquationTask] = {}
"""Tasks of code that has been run in this process, by file, name, stencil and content."""


def _of_code(source: Source, stencil: str | None) -> Task | EquationTask:
    try:
        content = source.path.read_bytes()
    except OSError as error:
        raise TaskError(f"cannot read {source.path}: {error.strerror or error}") from None
    if not trust.allowed(source.path, content):
        raise TaskError(
            f"{source.path} is code that nobody has named here in its present state; look at it, then give it on the "
            f"command line: dither train {source}"
        )
    key = source.path.resolve(), source.part, stencil, content
    if key not in _loaded:
        _loaded[key] = _task_of(source, _run(source.path, content), stencil)
    return _loaded[key]


def _run(path: Path, content: bytes) -> dict[str, Any]:
    """Runs a file as a module and returns its names; it can import what lies beside it."""
    name = f"dither_task_{re.sub(r'[^A-Za-z0-9_]', '_', path.stem)}"
    module = importlib.util.module_from_spec(importlib.machinery.ModuleSpec(name, None, origin=str(path)))
    module.__file__ = str(path)
    sys.modules[name] = module  # Data classes look their module up.
    sys.path.insert(0, str(path.resolve().parent))
    try:
        exec(compile(content, str(path), "exec"), module.__dict__)
    except Exception as error:
        raise _failure(path, error) from None
    finally:
        sys.path.remove(str(path.resolve().parent))
    return module.__dict__


def _failure(path: Path, error: BaseException) -> TaskError:
    frames = [each.lineno for each in traceback.extract_tb(error.__traceback__) if each.filename == str(path)]
    line = frames[-1] if frames else getattr(error, "lineno", None)
    return TaskError(f"{path} failed{f' in line {line}' if line else ''}: {type(error).__name__}: {error}")


def _task_of(source: Source, names: dict[str, Any], stencil: str | None) -> Task | EquationTask:
    if source.part is not None and source.part not in names:
        raise TaskError(f"{source.path} defines no {source.part}{_known(names)}")
    if source.part is None:
        known = _usable(names)
        if len(known) != 1:
            raise TaskError(f"which task of {source.path}? name it: dither train {source.path}:NAME{_known(names)}")
        source = replace(source, part=known[0])
    found = names[str(source.part)]
    try:
        if inspect.isclass(found) or inspect.isroutine(found):
            found = found()
        if isinstance(found, Problem):
            return equation_task(found, stencil)
        if isinstance(found, EquationTask) and stencil is not None:
            return replace(found, stencil=parse_stencil(stencil, found.problem.dimensions))
    except TaskError:
        raise
    except Exception as error:
        raise _failure(source.path, error) from None
    if not isinstance(found, (Task, EquationTask)):
        kind = type(found).__name__
        raise TaskError(f"{source} is of the type {kind}; a task is a Task, an EquationTask or a Problem")
    if stencil is not None and isinstance(found, Task):
        raise TaskError(f"{source} is no differential equation; leave the stencil out")
    return found


def _usable(names: dict[str, Any]) -> list[str]:
    """Names of what is a task, or makes one, and is defined in the file itself."""
    home = names["__name__"]
    return [
        name
        for name, value in names.items()
        if isinstance(value, (Task, EquationTask, Problem))
        or (inspect.isclass(value) and issubclass(value, Problem) and value.__module__ == home)
    ]


def _known(names: dict[str, Any]) -> str:
    known = _usable(names)
    return f"; it has {', '.join(known)}" if known else ""
