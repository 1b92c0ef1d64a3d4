"""What the clipped values of a run mean, in one sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .text import count

__all__ = ["PLACES", "Verdict", "weigh"]

PLACES = {
    "requantise": "activations, where an accumulator is requantised",
    "weight": "working weights, where a perturbed master is rounded",
    "loss": "losses of single samples",
    "update": "gradients, moments and masters, in the update unit",
}
"""Description of each place where values are clipped."""
_KINDS = {
    "requantise": ("activation", "activations", "sample"),
    "weight": ("perturbed weight", "perturbed weights", "parameter update"),
    "loss": ("loss", "losses", "sample"),
    "update": ("gradient or moment", "gradients or moments", "parameter update"),
}
"""What is clipped at each place, one and many, and what its clips are set against."""
_OFTEN = 0.01
"""Clips for each chance of one from which on they are more than stray ones."""
_ADVICE = {
    "requantise": "a larger --hidden-headroom gives activations more room",
    "weight": "a smaller --mu keeps probes within the weights' formats",
    "loss": "the samples that the network is most wrong about count for less than they should",
    "update": "steps are shorter than the gradient would have them",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the clips of a run mean for it."""

    text: str
    """What the clips mean, in one sentence."""
    serious: bool
    """Whether there is something to mend."""


def weigh(clips: Mapping[str, int], samples: int, updates: int, full: Sequence[str]) -> Verdict:
    """Says what the clips of a run mean.

    :param clips: number of clips by place, as in :data:`PLACES`.
    :param samples: number of samples that went through the network in training.
    :param updates: number of parameters times the number of steps.
    :param full: names of the tensors that were seen at the end of their formats.
    """
    if not any(clips.values()):
        return Verdict("Nothing was clipped in training: every number stayed within its format.", False)
    said, shares = [], {}
    for place, number in clips.items():
        if number:
            one, many, of = _KINDS[place]
            shares[place] = number / max(1, samples if of == "sample" else updates)
            said.append(f"{count(number)} {one if number == 1 else many} ({_share(shares[place], of)})")
    worst = max(shares, key=lambda place: shares[place])
    text = f"In training {' and '.join(said)} {'was' if sum(clips.values()) == 1 else 'were'} clipped"
    if full:
        lost = f"{', '.join(full)} came to the end of the format: parameters could not grow as they should"
        return Verdict(f"{text}, and {lost}.", True)
    if shares[worst] >= _OFTEN:
        return Verdict(f"{text}: that is often; {_ADVICE[worst]}.", True)
    return Verdict(f"{text}: that is rare, and no parameter was seen at the end of its format.", False)


def _share(share: float, of: str) -> str:
    return f"one in {count(round(1 / share))} {of}s" if share < 0.5 else f"{share:.2g} for each {of}"
