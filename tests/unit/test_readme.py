"""The README's program does what it says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import dither

README = Path(__file__).parents[2] / "README.md"


def test_the_program_trains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(program, names)
    promised = program.rpartition("# ")[2].strip().removesuffix("…")
    assert capsys.readouterr().out.startswith(promised)
    assert names["run"].report.is_file()


def test_the_names_that_it_lists_are_there() -> None:
    (listed,) = re.findall(r"comes from `dither` itself: (.*?)\n\n", README.read_text(), re.DOTALL)
    names = re.findall(r"`([A-Za-z_]+)[`(]", listed)
    assert len(names) >= 10
    assert set(names) <= set(dither.__all__)
