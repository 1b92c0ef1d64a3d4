"""MNIST-1D: ten hand-made curves, shifted, stretched, sheared and buried in noise, at 40 points.

Source: S. Greydanus, D. Kobak, *Scaling Down Deep Learning with MNIST-1D*, ICML 2024, arXiv
2011.14439. Its package ``mnist1d`` (Apache 2.0) makes the samples.
"""

from __future__ import annotations

import random

import numpy as np

from .made import kept, package
from .samples import Samples
from .scaling import Scaling

__all__ = ["load_mnist1d"]

_REACH = 4.0  # Values have mean 0 and deviation 1; of 10,000, three are clipped.


def load_mnist1d() -> Samples:
    """Returns the published set: 4,000 curves to train on, 1,000 held out.

    In float32 these are the bits of the published file, whose float64 differ in their last one.

    :raises DataError: if the package ``mnist1d`` is missing.
    """
    return kept("mnist1d", _made)


def _made() -> Samples:
    make_dataset = package("mnist1d.data", "mnist1d").make_dataset
    before = random.getstate(), np.random.get_state()
    try:
        found = make_dataset()  # Seeds the generators that all programs share, with 42.
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
    train, test = (Samples(found[f"x{part}"].astype(np.float32), found[f"y{part}"]) for part in ("", "_test"))
    return Samples(train.inputs, train.labels, test, tuple(range(10)), Scaling((0.0,), (_REACH,)), "mnist1d")
