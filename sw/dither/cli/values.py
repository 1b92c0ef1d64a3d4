"""Kinds of values on the command line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

from ..arch.config import EngineConfig, engine
from ..devices import DEVICES, Waves, is_line
from ..recipe import ESTIMATORS
from .group import suggest

__all__ = ["DEVICE", "ENGINE", "ESTIMATOR", "PROBES", "WAVES", "Suggesting"]


class Suggesting(click.ParamType[str]):
    """A choice among known names, with a suggestion for unknown ones.

    :param kind: what the names are, in the message.
    :param names: the known ones.
    """

    name = "name"

    def __init__(self, kind: str, names: list[str]) -> None:
        self.kind = kind
        self.names = names

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        return "|".join(self.names)

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value not in self.names:
            raise click.UsageError(f"unknown {self.kind} {value!r}; {suggest(value, self.names)}")
        return value


class DeviceType(Suggesting):
    """A device's name, or the line to a board."""

    def __init__(self) -> None:
        super().__init__("device", list(DEVICES))

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        return "|".join([*self.names, "PORT[@BAUD]"])

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return value if is_line(value) else super().convert(value, param, ctx)


class EngineType(click.ParamType[EngineConfig]):
    """A preset's name, or ``ROWSxLANES``, or ``ROWSxLANES@WORDS`` with the depth of the parameter
    memory.
    """

    name = "engine"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> EngineConfig:
        if isinstance(value, EngineConfig):
            return value
        try:
            return engine(value)
        except ValueError as error:
            raise click.UsageError(str(error)) from None


class WavesType(click.ParamType[Waves]):
    """``FILE:FIRST-LAST``."""

    name = "waves"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Waves:
        if isinstance(value, Waves):
            return value
        match = re.fullmatch(r"(.+):(\d+)-(\d+)", value)
        if match is None or int(match[2]) > int(match[3]):
            raise click.UsageError(
                f"--waves {value!r} must be FILE:FIRST-LAST, device commands, such as engine.vcd:4-4"
            )
        return Waves(Path(match[1]), int(match[2]), int(match[3]))


class ProbesType(click.ParamType[int | tuple[int, ...]]):
    """``N``, or ``N,M,...`` for each layer."""

    name = "probes"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | tuple[int, ...]:
        try:
            numbers = tuple(int(number) for number in str(value).split(","))
        except ValueError:
            raise click.UsageError(f"--probes {value!r} must be a number, or numbers by layer such as 4,16") from None
        return numbers[0] if len(numbers) == 1 else numbers


class EstimatorType(click.ParamType[str | tuple[str, ...]]):
    """A name, or ``NAME,NAME,...`` for each layer."""

    name = "estimator"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str | tuple[str, ...]:
        names = tuple(str(value).split(","))
        for name in names:
            if name not in ESTIMATORS:
                raise click.UsageError(f"unknown estimator {name!r}; {suggest(name, list(ESTIMATORS))}")
        return names[0] if len(names) == 1 else names


DEVICE = DeviceType()
ENGINE = EngineType()
ESTIMATOR = EstimatorType()
WAVES = WavesType()
PROBES = ProbesType()
