"""What ``run.json`` holds, and what of it a run's bits depend on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from ..tools.forms import COUNT, POSITIVE

__all__ = ["DESCRIPTION", "identity_of"]

_REGION = {"name": str, "base": COUNT, "words": COUNT, "moments?": [str]}
DESCRIPTION = {
    "tensors": [{"name": str, "shape": [range(1 << 31)], "frac": int}],
    "task?": str,
    "source?": (None, {"path": (None, str), "part": (None, str), "digest": str}),
    "scaling?": (None, {"centre": [float], "reach": [float]}),
    "classes?": (None, [(str, float)]),
    "forward?": dict,
    "title?": str,
    "created?": str,
    "command?": str,
    "device?": str,
    "devices?": [str],
    "shared?": {
        "exchange": str,
        "steps": COUNT,
        "lost": COUNT,
        "devices": [{"name": str, "samples": COUNT, "sent": COUNT, "received": COUNT}],
        "payloads": {str: COUNT},
        "float": COUNT,
    },
    "board?": (None, dict),
    "steps?": POSITIVE,
    "log_every?": POSITIVE,
    "checkpoint_every?": POSITIVE,
    "seed?": int,
    "engine?": {str: int},
    "recipe?": dict,
    "phases?": [{"recipe": dict}],
    "model?": {"layers": [dict], "loss": str},
    "sizes?": [POSITIVE],
    "numerics?": dict,
    "samples?": {str: COUNT},
    "metric?": str,
    "stencil?": (None, str),
    "network?": (None, str),
    "initial?": (None, str),
    "plan?": {"headings": [str], "lines": [[(str, int)]], "notes": [str]},
    "memories?": [{"name": str, "depth": POSITIVE, "used": COUNT, "regions": [_REGION], "moments?": [str]}],
    "versions?": {str: str},
    "confusion?": {"step": COUNT, "counts": [[COUNT]]},
    "progress?": {"step?": COUNT, "seconds?": float, "counters?": {str: COUNT}},
    "activations?": [{"name": str, "width": int, "frac": int, "lowest": int, "highest": int, "clips": COUNT}],
}
"""What ``run.json`` may hold, in the terms of :func:`~dither.tools.forms.misfit`."""


def identity_of(description: Mapping[str, Any]) -> str:
    """Returns the digest of everything in ``run.json`` that a run's bits depend on."""
    relevant = {key: description.get(key) for key in ("task", "seed", "model", "recipe", "numerics", "tensors")}
    for key in ("stencil", "initial"):
        if (value := description.get(key)) is not None:
            relevant[key] = value
    if source := description.get("source"):
        relevant["task"] = source["digest"]  # Whatever its file is called.
    if phases := description.get("phases"):
        relevant["phases"] = phases
        if any(phase.get("plateau") for phase in phases):
            # Evaluations decide when the phase ends.
            relevant["log_every"] = description.get("log_every")
    return hashlib.sha256(json.dumps(relevant, sort_keys=True).encode()).hexdigest()[:16]
