"""Runs tests and makes the page of the states that they meet: ``python -m tests.coverage``."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.benches.coverage import FOLDER, merge

from .page import page

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "coverage.md"
_BENCHES = (
    "contract",
    "correlate",
    "dither",
    "engine",
    "loss",
    "parameters",
    "sequencer",
    "transfer",
    "transpose",
    "update",
)
TESTS = (*(f"tests/cocotb/test_{name}.py" for name in _BENCHES), "tests/system/test_differential.py")
"""Tests that tell which instructions they run."""


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.coverage", description="Runs benches and lists the states of the machine that they meet."
    )
    parser.add_argument("--jobs", type=int, default=1, help="processes at a time (default 1)")
    parser.add_argument(
        "--keep", type=Path, metavar="DIR", help="folder for what each process met; not run again if it is there"
    )
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dither-coverage-") as scratch:
        folder = chosen.keep or Path(scratch)
        if not any(folder.glob("*.points")):
            folder.mkdir(parents=True, exist_ok=True)
            command = [sys.executable, "-m", "pytest", "-q", "-m", "not slow", "-n", str(chosen.jobs), *TESTS]
            done = subprocess.run(command, cwd=ROOT, env={**os.environ, FOLDER: str(folder.resolve())}, check=False)
            if done.returncode:
                print("tests failed: what they met says nothing", file=sys.stderr)
                return 1
        PAGE.write_text(page(merge(folder)))
    print(f"written: {PAGE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
