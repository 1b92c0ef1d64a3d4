"""A hundred thousand random programs on the golden and the native machine: the same bits.

``python -m tests.soak.native``, or ``make soak-native``. Programs are drawn by seeds, in parts that
take turns among engines and among single descriptors and whole programs. Each part is written down
when it is done, and a second call goes on behind those that this version of the native machine and
of the programs has done. A part begins with new machines, so whatever it finds it finds again.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from dither.native import build
from dither.native.facts import header
from dither.tools.cache import digest
from tests.programs import program_of_seed
from tests.system.test_native import ENGINES, Both

ROOT = Path(__file__).parents[2]
JOURNAL = Path(__file__).with_suffix(".jsonl")
PROGRAMS = 100_000
PART = 500
"""Programs of a part."""


@dataclass(frozen=True)
class Part:
    """Some successive seeds for one engine."""

    engine: str
    kind: str
    """What a program has: a ``descriptor``, or a ``program`` of its own."""
    first: int
    count: int

    def run(self) -> list[str]:
        """Returns the seeds whose programs leave other bits."""
        both, differ = Both(ENGINES[self.engine]), []
        for number in range(self.first, self.first + self.count):
            seed = f"{self.engine} {self.kind} {number}"
            program = program_of_seed(seed, both.config, single=self.kind == "descriptor", small=bool(number % 2))
            try:
                assert both.run(program.words, program.inputs, program.expects) is None
            except AssertionError:
                differ.append(seed)
        return differ


def parts(programs: int) -> Iterator[Part]:
    """Yields parts with so many programs together."""
    cases = [(engine, kind) for engine in ENGINES for kind in ("descriptor", "program")]
    for number, done in enumerate(range(0, programs, PART)):
        turn, case = divmod(number, len(cases))
        yield Part(*cases[case], turn * PART, min(PART, programs - done))


def version() -> dict[str, str]:
    """Returns digests of the native machine's sources and of what draws programs."""
    native = {path.name: path.read_text() for path in build.SOURCES.iterdir() if path.suffix in (".cpp", ".h")}
    drawn = [(ROOT / "tests" / name).read_text() for name in ("programs.py", "draws.py")]
    return {"native": digest(native, header())[:16], "programs": digest(drawn)[:16]}


def done(journal: Path, version: dict[str, str]) -> dict[Part, dict[str, Any]]:
    """Returns what is written of the parts that a version has done."""
    found = {}
    for line in map(json.loads, journal.read_text().splitlines() if journal.exists() else ()):
        if version.items() <= line.items():
            found[Part(*(line[name] for name in ("engine", "kind", "first", "count")))] = line
    return found


def soak(programs: int, journal: Path) -> int:
    """Runs those of the programs that were not run before; returns how many of all differ."""
    now = version()  # once: what is compiled stays what it is when its sources change
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TimeRemainingColumn()) as progress:
        bar, before = progress.add_task("programs", total=programs), done(journal, now)
        for part in parts(programs):
            if part not in before:
                begun = time.process_time()
                differ = part.run()
                entry = now | asdict(part) | {"differ": differ}
                entry |= {"seconds": round(time.process_time() - begun, 1)}
                with journal.open("a") as file:
                    file.write(json.dumps(entry) + "\n")
                for seed in differ:
                    progress.console.print(f"other bits: {seed}")
            progress.advance(bar, part.count)
    entries = [entry for part, entry in done(journal, now).items() if part in set(parts(programs))]
    differ = sum(len(entry["differ"]) for entry in entries)
    print(f"{programs - differ} of {programs} programs leave the same bits on native machine {now['native']}")
    return differ


def main() -> int:
    """Does what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak.native", description="Random programs, compared.")
    parser.add_argument("--programs", type=int, default=PROGRAMS, help=f"how many (default {PROGRAMS})")
    return min(soak(parser.parse_args().programs, JOURNAL), 1)


if __name__ == "__main__":
    raise SystemExit(main())
