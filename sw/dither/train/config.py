"""Configuration files: all choices of a run as TOML, which every run writes and training takes.

``run.toml`` in a run's folder names everything that the run's bits depend on; ``dither train
run.toml`` gives the same bits again. A file that people write may leave out all but the task. Paths
count from the file's folder.
"""

from __future__ import annotations

import itertools
import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..arch.config import EngineConfig, engine, engine_name
from ..nn.models import Model
from ..recipe import WORDS, Recipe
from ..recipe.phases import Phase, phase_text
from ..tools.files import AnyPath
from ..tools.forms import POSITIVE, misfit
from .source import Source
from .task import TaskError
from .tasks import task_names

__all__ = ["CONFIG", "WORKER", "config_text", "read_config"]

CONFIG = "run.toml"
"""Name of the file, in a run folder, that holds all choices of the run."""
WORKER = "worker"
"""Stands, where data of several owners are named, for what only a worker has."""
LARGEST = 1 << 20
"""Most bytes of such a file."""
_FORM = {
    "task": str,
    "device?": str,
    "engine?": (str, {str: int}),
    "steps?": POSITIVE,
    "log_every?": POSITIVE,
    "checkpoint_every?": POSITIVE,
    "stencil?": str,
    "data?": str,
    "network?": str,
    "data_of?": [str],
    "then?": [str],
    "recipe?": {str: (bool, int, float, str, [int], [str])},
    "model?": {"loss": str, "layers": [dict]},
}
_KEYS = {key.removesuffix("?") for key in _FORM}


def read_config(path: AnyPath) -> dict[str, Any]:
    """Reads a configuration file and returns the choices in it.

    :returns: those of the keys ``task``, ``device``, ``engine`` (a configuration), ``steps``,
        ``log_every``, ``checkpoint_every``, ``stencil``, ``data``, ``data_of``, ``network``,
        ``then``, ``recipe`` (fields by name) and ``model`` that the file has; paths as they are
        from here.
    :raises TaskError: if the file cannot be read, or holds something else.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise ValueError("it is too long")
        values = tomllib.loads(content.decode())
        if trouble := misfit(values, _FORM):
            raise ValueError(trouble)
        if unknown := sorted(set(values) - _KEYS):
            raise ValueError(f"unknown key {unknown[0]!r}; known: {', '.join(sorted(_KEYS))}")
        if "engine" in values:
            named = isinstance(values["engine"], str)
            values["engine"] = engine(values["engine"]) if named else EngineConfig.from_dict(values["engine"])
        if "model" in values:
            values["model"] = Model.from_dict(values["model"])
        Recipe.from_dict(Recipe().to_dict() | _alone(values.get("recipe", {})))
    except OSError as error:
        raise TaskError(f"cannot read {path}: {error.strerror or error}") from None
    except (ValueError, TypeError, AttributeError, LookupError, OverflowError, RecursionError) as error:
        # Syntax errors of TOML and of UTF-8 are ValueErrors too.
        raise TaskError(f"{path} is no configuration of a run: {error}") from None
    if values["task"] not in task_names() and (source := Source.of(values["task"])):
        values["task"] = str(Source(path.parent / source.path, source.part))
    for name in ("data", "network"):
        if name in values and (name == "data" or Path(values[name]).suffix):
            values[name] = str(path.parent / values[name])
    if "data_of" in values:
        values["data_of"] = tuple(each if each == WORKER else str(path.parent / each) for each in values["data_of"])
    return values


def _alone(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Those fields of a recipe that can be checked without the others."""
    together = ("tile", "batch", "estimator", "probes", "rule", "decay1", "decay2")
    return {name: value for name, value in recipe.items() if name not in together}


def config_text(
    *,
    task: str,
    device: str,
    config: EngineConfig,
    steps: int,
    log_every: int,
    checkpoint_every: int,
    model: Model,
    course: tuple[Phase, ...],
    stencil: str | None = None,
    data: Path | None = None,
    data_of: Sequence[str] = (),
    network: str | None = None,
) -> str:
    """Returns the content of a configuration file, with comments that say what things are.

    :param task: as :func:`read_config` shall find it.
    :param course: all phases, at least one.
    :param network: file with initial parameters, as :func:`read_config` shall find it.
    """
    name = engine_name(config)
    try:
        named = engine(name) == config
    except ValueError:
        named = False
    lines = [
        "# All choices of a run. This trains it again, with the same bits:",
        f"#     dither train {CONFIG}",
        "# Options come first: --seed 2, for example. All but the task may be left out; the task then decides.",
        "# Paths count from this file's folder.",
        "",
        "# A task by its name, or a file of one's own: DATA.npz, DATA.csv, a folder, CODE.py:NAME.",
        f"task = {_text(task)}",
        "# golden, native, numpy, rtl, or a board's serial port: all give the same bits.",
        f"device = {_text(device)}",
        "# Rows and lanes decide cycles, never results; width and table_bits decide results.",
        f"engine = {_text(name) if named else _table(config.to_dict())}",
        "# Optimiser steps, and steps between evaluations and between checkpoints.",
        f"steps = {steps}",
        f"log_every = {log_every}",
        f"checkpoint_every = {checkpoint_every}",
    ]
    if stencil is not None:
        lines += ["# How derivatives are taken.", f"stencil = {_text(stencil)}"]
    if data is not None:
        lines += ["# Folder of the task's files.", f"data = {_text(str(data.resolve()))}"]
    if data_of:
        files = [each if each == WORKER else str(Path(each).resolve()) for each in data_of]
        lines += [
            f"# Samples of several owners, of which each step takes equal parts; {WORKER}: with a worker.",
            f"data_of = {_value(files)}",
        ]
    if network is not None:
        lines += [
            "# File with initial parameters; without it they are drawn from the seed.",
            f"network = {_text(network)}",
        ]
    if len(course) > 1:
        texts = [phase_text(before, phase) for before, phase in itertools.pairwise(course)]
        lines += ["# Further phases: when the one before ends, and what then changes.", f"then = {_value(texts)}"]
    lines += ["", "[recipe]"]
    for field, value in course[0].recipe.to_dict().items():
        if value is not None:
            lines.append(f"{field} = {_value(value)}  # {WORDS[field]}")
    described = model.to_dict()
    lines += ["", "# The network, layer by layer.", "[model]", f"loss = {_text(described['loss'])}"]
    for layer in described["layers"]:
        lines += [
            "",
            "[[model.layers]]",
            *(f"{key} = {_value(value)}" for key, value in layer.items() if value is not None),
        ]
    return "\n".join(lines) + "\n"


def _text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _table(values: Mapping[str, Any]) -> str:
    return "{ " + ", ".join(f"{key} = {_value(value)}" for key, value in values.items()) + " }"


def _value(value: Any) -> str:
    """A value as TOML has it."""
    match value:
        case bool():
            return str(value).lower()
        case str():
            return _text(value)
        case int() | float():
            return repr(value)
        case _:
            return f"[{', '.join(map(_value, value))}]"
