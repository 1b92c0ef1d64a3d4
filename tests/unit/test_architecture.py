"""The layout is the architecture: which package may import which, and that none imports upwards.

A *room* is a package (or a module that stands alone) of the three roots. ``ALLOWED`` says for each
room which others it may import; what a room does not name, it must not import, however late in a
function. The rooms stand on floors: a room's floor is one above the highest room it imports.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = {"dither": ROOT / "sw", "dither_hw": ROOT / "hw", "dither_sim": ROOT / "sim"}

ALLOWED = {
    # The contract that all machines share, and tools that know nothing of it but its errors.
    "dither.arch": "",
    "dither.tools": "arch",
    "dither.store": "arch",
    # What is to be learnt, and how.
    "dither.nn": "tools",
    "dither.physics": "",
    "dither.data": "tools",
    "dither.recipe": "arch",
    # From there to a program, and machines that execute it.
    "dither.golden": "arch",
    "dither.native": "arch golden tools",
    "dither.compiler": "arch golden nn physics recipe",
    "dither.pytorch": "compiler nn",
    "dither.link": "arch golden store",
    "dither.boards": "arch link store tools",
    "dither.bitstreams": "boards tools",
    "dither.devices": "arch golden link native tools",
    "dither.inference": "arch compiler data devices nn pytorch tools",
    # Training, and what it leaves behind.
    "dither.runs": "nn tools",
    "dither.train": "arch compiler data devices golden link nn physics recipe runs tools",
    "dither.report": "arch compiler link nn recipe runs tools train",
    "dither.baselines": "nn physics pytorch report runs tools train",
    "dither.api": "arch compiler data devices inference nn physics pytorch recipe report runs tools train",
    "dither.bench": "arch baselines compiler devices golden native nn recipe train",
    "dither.diagrams": "arch compiler golden train",
    # Many machines: above all that one run needs.
    "dither.cluster": "arch compiler data devices golden link tools train",
    "dither.sweep": "arch cluster compiler recipe report runs tools train",
    # People.
    "dither.fit": "arch boards compiler link nn recipe report runs store tools train",
    "dither.cli": "api arch baselines bench bitstreams boards cluster data devices diagrams fit inference "
    "link nn physics recipe report runs sweep tools train dither_hw.build",
    # Gateware: what it takes from the software is the contract, and what builds need.
    "dither_hw.vendor": "",
    "dither_hw.base": "dither.arch vendor",
    "dither_hw.memory": "dither.arch base vendor",
    "dither_hw.tables": "dither.arch base memory",
    "dither_hw.contract": "dither.arch base tables",
    "dither_hw.loss": "dither.arch base tables",
    "dither_hw.update": "dither.arch base tables",
    "dither_hw.control": "dither.arch base memory",
    "dither_hw.compact": "dither.arch base contract vendor",
    "dither_hw.engine": "dither.arch base contract control loss memory tables update",
    "dither_hw.engines": "dither.arch compact engine",
    "dither_hw.link": "dither.arch dither.link base vendor",
    "dither_hw.sdram": "dither.store",
    "dither_hw.store": "dither.arch dither.store sdram",
    "dither_hw.board": "dither.arch dither.boards dither.link dither.store engines link sdram store vendor",
    "dither_hw.build": "dither.arch dither.boards dither.report dither.tools board vendor",
    # Simulation.
    "dither_sim.fabrics": "",
    "dither_sim.registers": "",
    "dither_sim.verilog": "dither.arch dither.tools fabrics registers",
    "dither_sim.netlist": "dither.arch dither.tools dither_hw.vendor fabrics",
    "dither_sim.placed": "dither.arch dither.boards dither_hw.board fabrics netlist",
    "dither_sim.cxxrtl": "dither.arch dither.tools",
    "dither_sim.verilated": "dither.arch dither.tools dither_hw.engines cxxrtl fabrics netlist verilog",
    "dither_sim.memory": "dither.arch dither.store dither.tools dither_hw.sdram dither_hw.store verilated verilog",
    "dither_sim.board": "dither.arch dither.link dither.store dither.tools dither.train dither_hw.board fabrics memory "
    "netlist verilated verilog",
}


@cache
def modules() -> dict[str, Path]:
    """Every module of the project by its name."""
    found = {}
    for root in SOURCES.values():
        for path in root.rglob("*.py"):
            parts = path.relative_to(root).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(name: str, source: str, known: dict[str, Path]) -> set[str]:
    """The project's modules that a module's text imports, anywhere in it."""
    package = name if known[name].name == "__init__.py" else name.rpartition(".")[0]
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name in known}
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*parts, *([node.module] if node.module else [])])
            for alias in node.names:
                found |= {module for module in (f"{base}.{alias.name}", base) if module in known and module != name}
    return found


@cache
def arrows() -> dict[str, set[str]]:
    """Module → modules that it imports."""
    known = modules()
    return {name: imported(name, path.read_text(), known) for name, path in known.items()}


def room(module: str) -> str:
    """The room that a module belongs to; a root package's own module is above all and has none."""
    return ".".join(module.split(".")[:2])


def allowed(name: str) -> set[str]:
    root = name.split(".")[0]
    return {word if "." in word else f"{root}.{word}" for word in ALLOWED[name].split()}


def wrong(edges: dict[str, set[str]]) -> list[str]:
    """Every import that ``ALLOWED`` does not allow."""
    return [
        f"{module} imports {other}, but {room(module)} may not import {room(other)}"
        for module, others in sorted(edges.items())
        for other in sorted(others)
        if "." in module and "." in other and room(module) != room(other)
        if room(other) not in allowed(room(module))
    ]


def circle(edges: dict[str, set[str]]) -> list[str] | None:
    """A way from a node back to itself, or None."""
    done: set[str] = set()

    def visit(node: str, path: list[str]) -> list[str] | None:
        if node in path:
            return [*path[path.index(node) :], node]
        if node in done:
            return None
        for other in sorted(edges.get(node, ())):
            if found := visit(other, [*path, node]):
                return found
        done.add(node)
        return None

    for start in sorted(edges):
        if found := visit(start, []):
            return found
    return None


def floors() -> dict[str, int]:
    """The floor of each room: 0 for those that import none."""

    @cache
    def floor(name: str) -> int:
        return 1 + max(map(floor, allowed(name)), default=-1)

    return {name: floor(name) for name in ALLOWED}


def test_every_room_is_named():
    assert {room(module) for module in modules() if "." in module} == set(ALLOWED)


def test_no_import_but_the_allowed_ones():
    assert not wrong(arrows())


def test_what_is_allowed_runs_one_way():
    assert circle({name: allowed(name) for name in ALLOWED}) is None
    assert max(floors().values()) <= 9, floors()


def test_no_permission_is_left_over():
    used = defaultdict(set)
    for module, others in arrows().items():
        if "." in module:
            used[room(module)] |= {room(other) for other in others if "." in other} - {room(module)}
    assert {name: allowed(name) - used[name] for name in ALLOWED if allowed(name) - used[name]} == {}


def test_no_modules_import_in_a_circle():
    # A package's __init__ re-exports its modules: what matters are the modules themselves.
    plain = {
        module: {other for other in others if modules()[other].name != "__init__.py"}
        for module, others in arrows().items()
        if modules()[module].name != "__init__.py"
    }
    assert circle(plain) is None


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("dither.arch.isa.table", "from dither.golden import GoldenMachine"),
        ("dither.nn.network", "def late():\n    from ..runs import RunFolder"),
        ("dither.golden.machine", "import dither.compiler.pipeline"),
    ],
)
def test_a_wrong_import_is_found(module, text):
    assert wrong({module: imported(module, text, modules())})
    assert not wrong({module: imported(module, "import numpy", modules())})
