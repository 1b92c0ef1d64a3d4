"""The way from a board to a bitstream, with a small design in place of link and engine."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator
from click.testing import CliRunner

import dither_hw.build
from dither.arch.device import DeviceError
from dither.boards import Board, BoardError, Budget, board, boards
from dither.cli.build import build as build_command
from dither_hw import vendor
from dither_hw.board.board import StartUp, create_platform
from dither_hw.build import BuildResult, Standing, build
from dither_hw.build.design import design_of
from dither_hw.build.floorplan import PlacedCell, floor_plan, read_cells, unit_of
from dither_hw.build.path import stops, summary
from dither_hw.build.processes import Processes
from dither_hw.build.progress import nextpnr_phase, yosys_phase
from dither_hw.build.resources import Usage, verdicts
from dither_hw.build.timing import read_timing
from dither_hw.vendor import device_of
from tests.conftest import ROOT


class Mixer(wiring.Component):
    """A counter, a multiplier and the build id, turning."""

    def __init__(self, board: Board, build_id: int) -> None:
        self.build_id = build_id
        super().__init__({"reset": In(1), "rx": In(1), "tx": Out(1), "busy": Out(1), "error": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        count, turning, factor, product = Signal(16), Signal(64, init=self.build_id), Signal(16), Signal(32)
        m.d.sync += [count.eq(count + 1), turning.eq(turning.rotate_left(1) ^ self.rx), factor.eq(turning[:16])]
        m.d.sync += product.eq(factor * count)
        m.d.comb += [self.tx.eq(turning[-1] ^ product[-1]), self.busy.eq(count[-1]), self.error.eq(count[-2])]
        return m


make = partial(build, core=Mixer)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a cache of its own in it."""
    folder = tmp_path_factory.mktemp("build")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DITHER_CACHE", str(folder / "cache"))
        yield folder


@pytest.fixture(scope="module")
def standings() -> list[Standing]:
    return []


@pytest.fixture(scope="module")
def result(place: Path, standings: list[Standing]) -> BuildResult:
    return make(board("icebreaker"), place / "out" / "icebreaker", seeds=[2, 1], jobs=2, listener=standings.append)


def test_what_a_build_leaves(result: BuildResult) -> None:
    assert sorted(path.name for path in result.folder.iterdir()) == [
        "nextpnr.json",
        "nextpnr.log",
        "placed.json.gz",
        "report.html",
        "report.json",
        "top.bin",
        "top.json",
        "top.pcf",
        "yosys.log",
    ]
    assert list(result.folder.parent.iterdir()) == [result.folder]
    assert result.bitstream.stat().st_size == 104_090
    netlist = json.loads((result.folder / "top.json").read_text())
    assert "SB_PLL40_PAD" in {cell["type"] for cell in netlist["modules"]["top"]["cells"].values()}


def test_report(result: BuildResult) -> None:
    report = json.loads((result.folder / "report.json").read_text())
    assert report == result.report
    assert (report["board"], report["device"], report["clock_mhz"]) == ("icebreaker", "iCE40UP5K", 24.0)
    assert report["engine"] == board("icebreaker").engine.to_dict()
    # Only multipliers that a design instantiates are used: this one's product is made of logic.
    assert report["resources"]["multipliers"] == {"used": 0, "available": 8}
    assert report["resources"]["ff"]["used"] > 80
    assert report["multipliers"] == 0
    assert list(report["seeds"]) == ["1", "2"]
    assert report["fmax_mhz"] == max(report["seeds"].values()) == report["seeds"][str(report["seed"])]
    assert set(report["versions"]) == {"yosys", "nextpnr-ice40", "icepack"}
    assert re.fullmatch(r"[0-9a-f]{16}", report["build_id"])
    assert report["critical_path"][0]["kind"] == "clk-to-q"
    assert report["critical_path"][-1]["kind"] == "setup"
    delay = sum(hop["delay_ns"] for hop in report["critical_path"])
    assert 1000 / delay == pytest.approx(report["fmax_mhz"], rel=1e-3)


def test_the_build_id_is_in_the_design(result: BuildResult, place: Path) -> None:
    design = design_of(board("icebreaker"), Mixer)
    assert f"{design.build_id:016x}" == result.report["build_id"]
    assert f"64'{design.build_id:064b}" in design.rtlil
    assert not re.search(r"attribute \\src|/home|\.py", design.rtlil)


def test_page(result: BuildResult) -> None:
    page = (result.folder / "report.html").read_text()
    assert "<svg" in page
    assert "MHz" in page
    assert result.report["bitstream"]["sha256"] in page
    assert not re.search(r'(?:src|href)="(?!data:|#)', page)
    assert "block RAMs" in page
    assert "The slowest path leads from " in page
    assert "die of 26 × 32 tiles" in page
    assert not re.search(r"\d,\d{3}\b", re.sub(r"<[^>]*>", " ", page))


def test_progress(standings: list[Standing], result: BuildResult) -> None:
    done = [standing.task for standing in standings if standing.done]
    assert done[:2] == ["gateware", "synthesis"]
    assert sorted(done[2:]) == ["seed 1", "seed 2"]
    texts = [standing.text for standing in standings if standing.task == "seed 1"]
    assert [texts[0], texts[-1]] == ["starting", f"{result.report['seeds']['1']:.1f} MHz"]
    for phase in ("packing", "placing", "routing", "timing"):
        assert phase in texts
    log = (result.folder / "nextpnr.log").read_text().splitlines()
    assert any(re.fullmatch(r"placing, wires [\d,]+", nextpnr_phase(line) or "") for line in log)
    passes = [yosys_phase(line) for line in (result.folder / "yosys.log").read_text().splitlines()]
    assert {"synth_ice40", "flatten", "abc9"} <= set(passes)


def test_again_from_the_cache(result: BuildResult, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = result.bitstream.read_bytes()
    tools = []
    run = Processes.run

    def note(self: Processes, name: str, *arguments: Any) -> None:
        tools.append(name)
        run(self, name, *arguments)

    monkeypatch.setattr(Processes, "run", note)
    assert make(board("icebreaker"), result.folder, seeds=[1, 2]).bitstream.read_bytes() == before
    assert tools == ["icepack"]
    make(board("icebreaker"), place / "third", seeds=[1, 2, 3])
    assert tools == ["icepack", "nextpnr-ice40 with seed 3", "icepack"]


def test_same_inputs_same_bitstream(result: BuildResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With another cache, another folder and every tool run anew."""
    monkeypatch.setenv("DITHER_CACHE", str(tmp_path / "elsewhere"))
    again = make(board("icebreaker"), tmp_path / "other", seeds=[1, 2], jobs=1)
    assert again.bitstream.read_bytes() == result.bitstream.read_bytes()
    assert (again.folder / "top.json").read_bytes() == (result.folder / "top.json").read_bytes()
    differing = {key for key in again.report if again.report[key] != result.report[key]}
    assert differing <= {"seconds"}


def test_force_runs_the_tools(result: BuildResult, place: Path) -> None:
    told: list[Standing] = []
    again = make(board("icebreaker"), place / "forced", seeds=[result.report["seed"]], again=True, listener=told.append)
    assert {standing.task for standing in told} == {"gateware", "synthesis", f"seed {result.report['seed']}"}
    assert again.bitstream.read_bytes() == result.bitstream.read_bytes()


def test_ecp5(place: Path) -> None:
    made = make(board("ulx3s-12f"), place / "ulx3s", seeds=[1])
    assert made.kept
    assert made.bitstream.name == "top.bit"
    assert made.bitstream.read_bytes()[:2] == b"\xff\x00"
    assert made.report["resources"]["multipliers"] == {"used": 1, "available": 28}
    assert made.report["resources"]["block_ram"] == {"used": 0, "available": 56}
    assert 'LOCATE COMP "uart_0__rx__io" SITE "M1";' in (made.folder / "top.lpf").read_text()
    assert "L3" not in (made.folder / "top.lpf").read_text()


def test_gowin(place: Path) -> None:
    made = make(board("tang-nano-9k"), place / "tang", seeds=[1])
    assert made.kept
    assert made.bitstream.name == "top.fs"
    lines = [line for line in made.bitstream.read_text().splitlines() if not line.startswith("//")]
    assert all(set(line) <= {"0", "1"} for line in lines)
    assert "10100101110000110000011000000000" not in lines[0]
    assert made.report["resources"]["multipliers"] == {"used": 1, "available": 20}
    assert made.report["resources"]["block_ram"] == {"used": 0, "available": 26}
    assert made.report["resources"]["pll"] == {"used": 1, "available": 2}
    assert made.report["resources"]["ff"]["used"] > 80
    assert 'IO_LOC "uart_0__rx__io" 18;' in (made.folder / "top.cst").read_text()
    assert sorted(path.name for path in made.folder.iterdir()) == [
        "nextpnr.json",
        "nextpnr.log",
        "placed.json.gz",
        "report.html",
        "report.json",
        "top.cst",
        "top.fs",
        "top.json",
        "yosys.log",
    ]


def test_budgets() -> None:
    usage = {name: Usage(100, 1000) for name in ("lut4", "ff", "multipliers", "block_ram")}
    tight = replace(board("icebreaker"), budget=Budget(lut4=90, ff=100, fmax_mhz=30.0))
    found = verdicts(tight, 28.5, usage)
    assert [verdict.text for verdict in found] == [
        "fmax_mhz: 28.5 of at least 30: 1.5 MHz too slow",
        "lut4: 100 of at most 90: 10 too many",
        "ff: 100 of at most 100",
    ]
    assert [verdict.kept for verdict in found] == [False, False, True]
    assert [verdict.kept for verdict in verdicts(replace(tight, budget=Budget()), 24.0, usage)] == [True]
    assert [verdict.kept for verdict in verdicts(replace(tight, budget=Budget(fmax_mhz=1.0)), 23.9, usage)] == [False]


@pytest.fixture
def command(place: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """``dither build`` with the small design."""
    monkeypatch.setattr(dither_hw.build, "build", make)
    handler = signal.getsignal(signal.SIGTERM)
    monkeypatch.chdir(place)
    yield lambda *words: CliRunner().invoke(build_command, words)
    signal.signal(signal.SIGTERM, handler)


def test_command(command: Callable[..., Any], place: Path) -> None:
    done = command("--board", "icebreaker", "--seeds", "1")
    assert done.exit_code == 0
    assert "gateware: build " in done.stderr
    assert "fmax_mhz: " in done.stdout
    assert (place / "build" / "icebreaker" / "top.bin").is_file()


@pytest.mark.parametrize(("most", "says"), [("4_000", "gateware: "), ("40_000", "this takes about 10 min 45 s; ")])
def test_a_long_build_says_so_first(command: Callable[..., Any], place: Path, most: str, says: str) -> None:
    text = (ROOT / "constraints" / "icebreaker.toml").read_text()
    (place / "board.toml").write_text(re.sub(r"lut4 = .*", f"lut4 = {most}", text))
    done = command("--board", str(place / "board.toml"), "--seeds", "1")
    assert done.stderr.startswith(says)


def test_command_enforces_budgets(command: Callable[..., Any], place: Path) -> None:
    text = (ROOT / "constraints" / "icebreaker.toml").read_text()
    (place / "small.toml").write_text(re.sub(r"lut4 = .*", "lut4 = 5\nfmax_mhz = 900", text))
    done = command("--board", str(place / "small.toml"), "--seeds", "1")
    assert done.exit_code == 1
    assert re.search(r"^lut4: \d+ of at most 5: \d+ too many$", done.stderr, re.MULTILINE)
    assert re.search(r"MHz too slow\nanother placement may be faster: --seeds 2 tries 2$", done.stderr, re.MULTILINE)
    assert (place / "build" / "small" / "report.html").is_file()


def test_command_refuses_nonsense(command: Callable[..., Any]) -> None:
    for words, message in (
        (["--engine-override", "lanes=3x"], "'lanes=3x': must be KEY=INTEGER"),
        (["--engine-override", "lane=3"], "'lane' is no parameter; known: rows, lanes"),
        (["--engine-override", "width=17"], "--engine-override: width must be one of (16, 18), not 17"),
    ):
        done = command("--board", "icebreaker", *words)
        assert done.exit_code == 2
        assert message in done.output


def test_folders_that_hold_something_else_are_left_alone(result: BuildResult, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(DeviceError, match=r"is there and holds no build; choose another --out$"):
        make(board("icebreaker"), tmp_path, seeds=[1])
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    (tmp_path / "file").write_text("")
    with pytest.raises(DeviceError, match=r"cannot write .*; choose another --out$"):
        make(board("icebreaker"), tmp_path / "file" / "out", seeds=[1])


def fake(folder: Path, script: str) -> str:
    path = folder / "fake"
    path.write_text(f"#!/bin/sh\n[ \"$1\" = --version ] && echo 'fake 1' && exit\n{script}\n")
    path.chmod(0o755)
    return str(path)


def test_a_tool_that_fails(result: BuildResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        "NEXTPNR_ICE40", fake(tmp_path, "echo 'Info: x'; echo 'ERROR: no room for it'; echo bye; exit 3")
    )
    with pytest.raises(DeviceError, match=r"^nextpnr-ice40 with seed 1 failed: no room for it$"):
        make(board("icebreaker"), tmp_path / "out", seeds=[1])
    assert not (tmp_path / "out").exists()
    monkeypatch.setenv("NEXTPNR_ICE40", "/no/such/tool")
    with pytest.raises(DeviceError, match=r"^NEXTPNR_ICE40=/no/such/tool: there is no such program$"):
        make(board("icebreaker"), tmp_path / "out", seeds=[1])


def test_interruption_leaves_nothing(result: BuildResult, tmp_path: Path) -> None:
    """Ctrl-C while two placements are under way."""
    # Whoever runs the tests in the background has SIGINT ignored, and so would the child.
    script = f"""
import signal
from pathlib import Path
from dither.boards import board
signal.signal(signal.SIGINT, signal.default_int_handler)
from tests.unit.test_build import make
make(board("icebreaker"), Path({str(tmp_path / "out")!r}), seeds=[1, 2], jobs=2)
"""
    pids = tmp_path / "pids"
    tool = fake(tmp_path, f"echo $$ >> {pids}; exec sleep 600")
    environment = {**os.environ, "NEXTPNR_ICE40": tool}
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        env=environment,
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 30
    while not (pids.is_file() and len(pids.read_text().split()) == 2):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=10)
    assert "KeyboardInterrupt" in said
    for pid in pids.read_text().split():
        assert not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text().split()[2]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fake", "pids"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"platform": "amaranth_boards.none:None"}, "platform: No module named 'amaranth_boards.none'"),
        ({"platform": "amaranth_boards.icebreaker:Other"}, "platform: module 'amaranth_boards.icebreaker' has no"),
        ({"uart": {"number": 3}}, "uart.resource: Resource uart#3 does not exist"),
        ({"clock": {"resource": "clk99"}}, "clock.resource: Resource clk99#0 does not exist"),
        ({"clock": {"resource": "led_r"}}, "clock.resource: 'led_r' has no frequency"),
        ({"clock": {"hz": 20_000_000}}, "clock.hz: no PLL setting makes 20 MHz of 12 MHz; nearest: 19.875 and 20.25"),
    ],
)
def test_boards_that_cannot_be(place: Path, change: dict[str, Any], message: str) -> None:
    first = board("icebreaker")
    fields = {
        key: replace(getattr(first, key), **value) if isinstance(value, dict) else value
        for key, value in change.items()
    }
    with pytest.raises(BoardError, match=f"^icebreaker: {re.escape(message)}"):
        design_of(replace(first, **fields), Mixer)


def test_pins_by_name(place: Path) -> None:
    first = board("icebreaker")
    uart = replace(first.uart, resource="wires", rx="4", tx="2", attributes={"IO_STANDARD": "SB_LVCMOS"})
    pins = design_of(replace(first, uart=uart), Mixer).pins
    assert "set_io wires_0__rx__io 4\n" in pins
    assert "set_io wires_0__tx__io 2\n" in pins


def test_clocks_without_a_pll(place: Path) -> None:
    first = board("icebreaker")
    assert "SB_PLL40" not in design_of(replace(first, clock=replace(first.clock, hz=12_000_000)), Mixer).rtlil
    assert "SB_PLL40_CORE" in design_of(replace(first, clock=replace(first.clock, pll="core")), Mixer).rtlil


def test_reset_waits_for_a_steady_clock() -> None:
    dut = StartUp(20)
    simulator = Simulator(dut)
    seen: list[int] = []

    async def bench(context: Any) -> None:
        async def cycles(count: int) -> list[int]:
            values = []
            for _ in range(count):
                context.set(dut.clock, 1)
                await context.delay(1e-9)
                context.set(dut.clock, 0)
                await context.delay(1e-9)
                values.append(context.get(dut.reset))
            return values

        seen.extend(await cycles(50))
        for _ in range(2):
            context.set(dut.steady, 1)
            values = await cycles(40)
            assert values == [1] * values.index(0) + [0] * (40 - values.index(0))
            assert 20 <= values.index(0) <= 24
            context.set(dut.steady, 0)
            assert (await cycles(5))[1:] == [1] * 4

    simulator.add_testbench(bench)
    simulator.run()
    assert seen == [1] * 50


def test_every_board_can_be_elaborated_for(place: Path) -> None:
    """One of each family is built above; all use the same code, but not the same platform."""
    others = ("tang-nano-20k", "tang-primer-20k")
    for name in ("versa-ecp5", "ecpix5-45", "supercon19badge", "colorlight-5a75b", *others):
        design = design_of(board(name), Mixer)
        assert "uart_0__tx__io" in design.pins
        assert device_of(create_platform(board(name))) == design.device


def test_reports_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    with pytest.raises(DeviceError, match=r"report.json: no report of nextpnr: "):
        read_timing(path, 24_000_000)
    path.write_text(
        json.dumps({"fmax": {"slow": {"constraint": 12.0, "achieved": 30.0}}, "critical_paths": [], "utilization": {}})
    )
    with pytest.raises(DeviceError, match=r"report.json: no clock of 24 MHz: slow$"):
        read_timing(path, 24_000_000)
    assert read_timing(path, 12_000_000).fmax_mhz == 30.0
    assert read_timing(path, 12_000_000).path == ()


def test_units() -> None:
    assert unit_of("core.engine.contract.lane3.sum_TRELLIS_FF_Q") == "engine.contract"
    assert unit_of("core.engine.loss$178.sum_LUT4") == "engine.loss"
    assert unit_of("core.count_TRELLIS_FF_Q_1") == "core"
    assert unit_of("$gbuf$clk") == "top"


CELLS = [
    *(PlacedCell("engine.path", "logic", 1, 1) for _ in range(8)),
    *(PlacedCell("engine.path", "logic", 2, 1) for _ in range(2)),
    PlacedCell("link", "logic", 2, 1),
    PlacedCell("engine.path", "multiplier", 0, 3),
    PlacedCell("engine.state", "block RAM", 0, 0),
    PlacedCell("top", "pin", 4, 0),
]


def test_the_floor_plan_shows_the_whole_die() -> None:
    plan = floor_plan(CELLS, (26, 32))
    assert (plan.columns, plan.rows) == (26, 32)
    assert plan.grid.count("M") == 25 + 31
    path, *others = plan.areas
    assert (path.name, path.color, path.cells) == ("engine.path", 0, 11)
    assert path.tiles == [(0.3 + 0.7 * 3 / 8, "M2 1h1v1h-1z"), (1.0, "M1 1h1v1h-1z")]
    assert [kind for kind, _ in path.marks] == ["multiplier"]
    assert {area.name for area in others} == {"link", "engine.state", "top"}
    assert plan.kinds == ["multiplier", "block RAM", "pin"]
    known = floor_plan(CELLS, None)
    assert (known.columns, known.rows) == (5, 4)


@pytest.mark.parametrize(
    ("flow", "bel", "types"),
    [
        ("ice40", "X3/Y7/lc0", ("ICESTORM_LC", "ICESTORM_DSP", "ICESTORM_RAM", "SB_IO")),
        ("ecp5", "X3/Y7/SLICEA.LUT0", ("TRELLIS_COMB", "MULT18X18D", "DP16KD", "TRELLIS_IO")),
        ("gowin", "X3Y7/LUT0", ("LUT2", "MULT18X18", "SDPB", "IBUF")),
        ("gowin", "X3Y7/LUT0", ("DFFS", "MULT18X18", "SDPX9B", "TBUF")),
    ],
)
def test_placed_cells_of_every_family_are_read(flow: str, bel: str, types: Sequence[str], tmp_path: Path) -> None:
    cells = {f"core.link.{name}": {"type": name, "attributes": {"NEXTPNR_BEL": bel}} for name in (*types, "VCC")}
    (tmp_path / "placed.json").write_text(json.dumps({"modules": {"top": {"cells": cells}}}))
    kinds = ("logic", "multiplier", "block RAM", "pin")
    (family,) = [each for each in vendor.FLOWS if each.name == flow]
    assert read_cells(tmp_path / "placed.json", family.kinds) == [PlacedCell("link", kind, 3, 7) for kind in kinds]


def test_small_parts_of_a_floor_plan_share_a_grey() -> None:
    cells = [PlacedCell(f"unit{unit}", "logic", unit, 0) for unit in range(15) for _ in range(20 - unit)]
    *areas, others = floor_plan(cells, None).areas
    assert [area.color for area in areas] == list(range(12))
    assert (others.name, others.color, others.cells) == ("others", None, 8 + 7 + 6)
    assert sum(outline.count("M") for area in (*areas, others) for _, outline in area.tiles) == 15


@pytest.mark.parametrize("name", list(boards()))
def test_the_die_of_every_board_is_known(name: str) -> None:
    design = create_platform(board(name))
    flow = vendor.flow(design)
    assert flow is not None
    assert [size for device, size in flow.dies.items() if re.match(device, vendor.device_of(design))]


def hop(kind: str, ns: float, to: str, net: str = "") -> dict[str, Any]:
    return {"kind": kind, "delay_ns": ns, "from": "", "to": to, "net": net, "place": [1, 2]}


def test_carry_chains_are_one_stop_of_a_path() -> None:
    path = stops(
        [
            hop("clk-to-q", 0.5, "core.engine.state.ram.Q"),
            hop("routing", 2.0, "core.engine.scalar.sum_SB_LUT4_O.I1", "a"),
            hop("logic", 0.25, "core.engine.scalar.sum_SB_LUT4_O.COUT"),
            hop("routing", 0.0, "core.engine.scalar.sum_SB_LUT4_O_1.CIN", "b"),
            hop("logic", 0.25, "core.engine.scalar.sum_SB_LUT4_O_1.COUT"),
            hop("routing", 0.5, "core.engine.scalar.sum_SB_LUT4_O_2.CIN", "c"),
            hop("logic", 0.25, "core.engine.scalar.sum_SB_LUT4_O_2.COUT"),
            hop("routing", 0.25, "core.engine.scalar.sum_SB_LUT4_O_3.I3", "d"),
            hop("logic", 1.0, "core.engine.scalar.sum_SB_LUT4_O_3.O"),
            hop("routing", 3.0, "core.engine.state.ram.D", "e"),
            hop("setup", 0.0, "core.engine.state.ram.D"),
        ]
    )
    assert [(stop.cells, stop.wire_ns, stop.cell_ns) for stop in path] == [
        (1, 0.0, 0.5),
        (3, 2.5, 0.75),
        (1, 0.25, 1.0),
        (1, 3.0, 0.0),
    ]
    assert summary(path) == (
        "The slowest path leads from core.engine.state.ram by way of engine.scalar back to it: 8.0 ns, "
        "of which 5.8 ns (72 %) are in wires."
    )
    assert "to core.engine.scalar.sum…: 3.8 ns" in summary(path[:2])
