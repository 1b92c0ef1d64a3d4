"""Kinds of values on the command line: names, devices, engines, waveforms, numbers by layer."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

from ..arch.config import EngineConfig, engine
from ..devices import DEVICES as BY_NAME
from ..devices import PORTS, Waves, is_line
from ..recipe import ESTIMATORS
from ..tools import trust
from ..train.config import WORKER
from ..train.source import Source
from ..train.tasks import FORMS, task_names
from .group import suggest

__all__ = ["DEVICE", "DEVICES", "ENGINE", "ESTIMATOR", "PROBES", "TASK", "WAVES", "Suggesting"]


class Suggesting(click.ParamType[str]):
    """Value on the command line: one of some known names, with a suggestion for unknown ones.

    :param kind: what the names are, in the message.
    :param names: the known ones.
    """

    name = "name"

    def __init__(self, kind: str, names: list[str]) -> None:
        self.kind = kind
        self.names = names

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """Returns the known names, as the help shows them."""
        return "|".join(self.names)

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Returns the name if it is known.

        :raises click.UsageError: if it is unknown.
        """
        if value not in self.names:
            raise click.UsageError(f"unknown {self.kind} {value!r}; {suggest(value, self.names)}")
        return value


class TaskType(Suggesting):
    """Value on the command line: a task's name, or the file or folder that one's own comes from.

    A file of code that stands here has been named by the user, and may be run.
    """

    def __init__(self) -> None:
        super().__init__("task", task_names())

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """Returns the known names and the forms of files, as the help shows them."""
        return "|".join([*self.names, "FILE"])

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Returns the name of a task, or the text that names a file.

        :raises click.UsageError: if it is neither, or a file of code cannot be read.
        """
        if value in self.names:
            return value
        if (source := Source.of(value)) is None:
            raise click.UsageError(f"unknown task {value!r}; {suggest(value, self.names)}; or a file: {FORMS}")
        if source.code and source.path.is_file():
            # Whoever names code here wants it to be run.
            try:
                trust.allow(source.path)
            except OSError as error:
                raise click.UsageError(f"cannot read {source.path}: {error.strerror}") from None
        return value


class DeviceType(Suggesting):
    """Value on the command line: a device's name, or the line to a board."""

    def __init__(self) -> None:
        super().__init__("device", list(BY_NAME))

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """Returns the known names and the form of a line, as the help shows them."""
        return "|".join([*self.names, "PORT[@BAUD]"])

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Returns the name of a device or line.

        :raises click.UsageError: if it is neither.
        """
        if not is_line(value) and value not in self.names:
            raise click.UsageError(f"unknown device {value!r}; {suggest(value, self.names)}; or {PORTS}")
        return value


class EngineType(click.ParamType[EngineConfig]):
    """Value on the command line: a preset's name, ``ROWSxLANES`` or ``ROWSxLANES@WORDS``.

    WORDS is the depth of the parameter memory.
    """

    name = "engine"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> EngineConfig:
        """Returns the engine configuration that a text stands for.

        :raises click.UsageError: if it stands for none.
        """
        if isinstance(value, EngineConfig):
            return value
        try:
            return engine(value)
        except ValueError as error:
            raise click.UsageError(str(error)) from None


class WavesType(click.ParamType[Waves]):
    """Value on the command line: waveforms to write, as ``FILE:FIRST-LAST``."""

    name = "waves"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Waves:
        """Returns the file and the range of device commands.

        :raises click.UsageError: if the text has another form.
        """
        if isinstance(value, Waves):
            return value
        match = re.fullmatch(r"(.+):(\d+)-(\d+)", value)
        if match is None or int(match[2]) > int(match[3]):
            raise click.UsageError(
                f"--waves {value!r} must be FILE:FIRST-LAST, device commands, such as engine.vcd:4-4"
            )
        return Waves(Path(match[1]), int(match[2]), int(match[3]))


class ProbesType(click.ParamType[int | tuple[int, ...]]):
    """Value on the command line: a number of probes, ``N``, or ``N,M,...`` for each layer."""

    name = "probes"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | tuple[int, ...]:
        """Returns the number of probes, or the numbers for each layer.

        :raises click.UsageError: if the text has another form.
        """
        try:
            numbers = tuple(int(number) for number in str(value).split(","))
        except ValueError:
            raise click.UsageError(f"--probes {value!r} must be a number, or numbers by layer such as 4,16") from None
        return numbers[0] if len(numbers) == 1 else numbers


class EstimatorType(click.ParamType[str | tuple[str, ...]]):
    """Value on the command line: an estimator, ``NAME``, or ``NAME,NAME,...`` for each layer."""

    name = "estimator"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str | tuple[str, ...]:
        """Returns the name of the estimator, or the names for each layer.

        :raises click.UsageError: if a name is unknown.
        """
        names = tuple(str(value).split(","))
        for name in names:
            if name not in ESTIMATORS:
                raise click.UsageError(f"unknown estimator {name!r}; {suggest(name, list(ESTIMATORS))}")
        return names[0] if len(names) == 1 else names


class DevicesType(click.ParamType[tuple[str, ...]]):
    """Value on the command line: several devices, ``A,B,...``; ``A:N`` stands for A, N times."""

    name = "devices"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """Returns the names of the devices.

        :raises click.UsageError: if one of them is unknown, or a line is named twice.
        """
        if isinstance(value, tuple):
            return value
        found: list[str] = []
        for word in filter(None, value.split(",")):
            match = re.fullmatch(r"([a-z]+):(\d{1,3})", word)
            name, count = (match[1], int(match[2])) if match and match[1] in BY_NAME else (word, 1)
            found += [DEVICE.convert(name, param, ctx)] * count
        if twice := sorted({name for name in found if is_line(name) and found.count(name) > 1}):
            raise click.UsageError(f"--devices names {twice[0]} twice; a line leads to one board")
        return tuple(found)


class DataOfType(click.ParamType[tuple[str, ...]]):
    """Value on the command line: data of several owners, ``FILE,FILE,...`` or ``worker:N``."""

    name = "data of owners"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """Returns a file for each owner, or :data:`~dither.train.config.WORKER`.

        :raises click.UsageError: if it does not say how many workers there are.
        """
        if isinstance(value, tuple):
            return value
        if match := re.fullmatch(rf"{WORKER}(?::(\d{{1,4}}))?", value):
            if not int(match[1] or 0):
                raise click.UsageError(f"--data-of {value} must say how many workers have data, such as {WORKER}:3")
            return (WORKER,) * int(match[1])
        found = tuple(filter(None, value.split(",")))
        if any(word.partition(":")[0] == WORKER for word in found):
            raise click.UsageError(f"--data-of takes files, or {WORKER}:N, not both")
        return found


DEVICE = DeviceType()
"""Type of options whose value is a device."""
DASHBOARD = "Show Dask's pages about itself to this computer, where the package bokeh is installed."
"""Help of options that want them."""
DATA_OF = DataOfType()
"""Type of options whose value says who has the data."""
DEVICES = DevicesType()
"""Type of options whose value is several devices."""
ENGINE = EngineType()
"""Type of options whose value is an engine."""
ESTIMATOR = EstimatorType()
"""Type of options whose value is an estimator, or one for each layer."""
WAVES = WavesType()
"""Type of options whose value says which waveforms to write."""
TASK = TaskType()
"""Type of arguments that name a task, of the project or of one's own."""
PROBES = ProbesType()
"""Type of options whose value is a number of probes, or one for each layer."""
