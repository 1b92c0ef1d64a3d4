"""Devices by name: which machine stands behind golden, and what each of them needs."""

from __future__ import annotations

import pytest

from dither.arch.config import preset
from dither.arch.device import DeviceError
from dither.devices import build_device
from dither.golden import GoldenMachine
from dither.native import NativeMachine

ENGINE = preset("1x8")


def no_compiler() -> str:
    raise DeviceError("no C++ compiler found: install one, e.g. apt-get install g++")


def test_golden_is_compiled_where_it_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(build_device("golden", ENGINE), NativeMachine)
    assert isinstance(build_device("numpy", ENGINE), GoldenMachine)
    told: list[str] = []
    monkeypatch.setattr("dither.native.build.library", lambda on_status: no_compiler())
    assert isinstance(build_device("golden", ENGINE, status=told.append), GoldenMachine)
    assert len(told) == 1
    assert told[0].startswith("no C++ compiler found")
    assert told[0].endswith("going on in NumPy")


def test_native_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dither.native.build.library", lambda on_status: no_compiler())
    with pytest.raises(DeviceError, match=r"^no C\+\+ compiler found: .*; --device numpy needs no compiler$"):
        build_device("native", ENGINE)


@pytest.mark.parametrize(("wanted", "threads"), [("1", 1), ("3", 3)])
def test_threads_are_what_the_environment_says(wanted: str, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    monkeypatch.setenv("OMP_NUM_THREADS", wanted)
    monkeypatch.setattr("dither.native.NativeMachine", lambda config, *, threads, on_status: seen.append(threads))
    build_device("native", ENGINE)
    assert seen == [threads]
