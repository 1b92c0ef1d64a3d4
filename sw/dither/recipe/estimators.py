"""The estimators that a recipe may name, and the little that a recipe has to know of each.

How an estimator works is the compiler's business: ``dither.compiler.gradients`` has a file for
each of these names.

Zeroth-order estimators (arXiv 2308.09858): with probes xi of variance 1 and loss differences D,

- one side: ``g = mean over probes of [L(theta + mu xi) - L(theta)] / mu * xi``
- two sides: ``g = mean over probes of [L(theta + mu xi) - L(theta - mu xi)] / (2 mu) * xi``

``tensorwise`` perturbs one tensor at a time, ``layerwise`` all tensors of a layer, ``joint`` all of
the network; ``coordinate`` moves one parameter after the other, so that xi is a unit vector and the
gradient exact but for mu; with rule SIGN_MOMENTUM, this is coordinate sign descent.

``residualwise`` perturbs all of the network too, but asks what a probe does to the residual of each
point, rather than to their sum: a column of the Jacobian, projected onto the probe. The step is a
damped Gauss-Newton step within the probes' span.

Local estimators make an error signal for each sample and each output of a layer, and from it the
gradients of the layer's own tensors:

- ``activity`` (arXiv 2210.03310): the layer's outputs are perturbed, with signs of its own for each
  sample; the error is the mean of the sample's loss differences times its signs.
- ``exact``: the derivative of the loss by the network's outputs, for the last layer.
- ``regression``: the derivative of the loss by the network's outputs, carried back by a matrix that
  is itself learned: it is to predict the loss differences of perturbed activities (Lansdell,
  Prakash, Kording, *Learning to solve the credit assignment problem*, ICLR 2020).
- ``mirror``: the same, but the matrix is to predict how the outputs respond to perturbed activities
  (Akrout et al., *Deep Learning without Weight Transport*, NeurIPS 2019).
- ``feedback``: the same with a fixed random matrix (direct feedback alignment; Nokland, NIPS 2016).
- ``projection``: a fixed random projection of the target itself (DRTP; Frenkel, Lefebvre, Bol,
  Front. Neurosci. 2021).
- ``target``: the distance of the outputs from a fixed random projection of the target (tpSGD, arXiv
  2208.08503).

A recurrent layer has a projection of its own for each time step.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DEFAULT", "ESTIMATORS", "Traits"]


@dataclass(frozen=True, slots=True)
class Traits:
    """What a recipe has to know of an estimator to say whether its choices go together."""

    local: bool = False
    """It makes an error signal for each sample at a layer's outputs; otherwise it perturbs
    parameters and needs nothing but the sum of losses."""
    probes: bool = False
    """The recipe's number of probes decides how good its gradients are."""
    learned: bool = False
    """It trains a matrix of its own beside the layer's parameters."""
    alone: bool = False
    """It serves all layers at once, so that no other estimator may stand beside it."""

    solved: bool = False
    """Its steps are solved for by the host, from residuals that all points of a step make of the
    same probes."""

    @property
    def whole(self) -> bool:
        """Whether its gradients come from whole error signals, which all have one scale."""
        return self.local and not self.probes and not self.learned


ESTIMATORS: dict[str, Traits] = {
    "tensorwise": Traits(probes=True),
    "layerwise": Traits(probes=True),
    "joint": Traits(probes=True, alone=True),
    "coordinate": Traits(),
    "residualwise": Traits(probes=True, alone=True, solved=True),
    "activity": Traits(local=True, probes=True),
    "exact": Traits(local=True),
    "regression": Traits(local=True, probes=True, learned=True),
    "mirror": Traits(local=True, learned=True),
    "feedback": Traits(local=True),
    "projection": Traits(local=True),
    "target": Traits(local=True),
}
"""All estimators by name; ``dither.compiler.gradients.register`` adds others."""
DEFAULT = "tensorwise"
"""The estimator of recipes that name none."""
