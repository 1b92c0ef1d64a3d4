"""Networks as ONNX, the exchange format of frameworks: ``pip install onnx``.

The graph computes in float32 what the network computes in float64: from samples as they are to
outputs and, with classes, to probabilities and labels. Tensor trains stay trains: each core is a
matrix product in the order that the engine takes.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..compiler import LayerPlan, plan_layers
from ..data import AS_THEY_ARE, Scaling
from ..nn.models import RNN, Conv2d
from ..nn.network import Network

__all__ = ["to_onnx"]

OPSET = 17
"""Version of ONNX's operators, which runtimes since 2022 know."""
IR = 8
"""Version of the file format that goes with it."""
_FUNCTIONS = {"relu": "Relu", "sine": "Sin", "tanh": "Tanh"}


def to_onnx(
    network: Network, scaling: Scaling = AS_THEY_ARE, classes: Sequence[Any] | None = None, title: str = "network"
) -> Any:
    """Returns a network as an ``onnx.ModelProto``.

    Its input is ``samples`` of shape (samples, inputs), its outputs are ``outputs`` and, with
    classes, ``probabilities`` and ``labels``.

    :param scaling: how samples as they are become inputs of the network.
    :param classes: label of each class, all whole numbers or all texts; None for values.
    :param title: one line about the network.
    :raises ImportError: if the package onnx is not installed.
    """
    return _Graph(network).model(scaling, classes, title)


class _Graph:
    """Nodes and constants of a graph that is being made."""

    def __init__(self, network: Network) -> None:
        try:
            self.onnx = importlib.import_module("onnx")
        except ImportError:
            raise ImportError("ONNX needs the package onnx: pip install onnx") from None
        self.network = network
        self.nodes: list[Any] = []
        self.constants: dict[str, Any] = {}

    def model(self, scaling: Scaling, classes: Sequence[Any] | None, title: str) -> Any:
        helper, kinds = self.onnx.helper, self.onnx.TensorProto
        described = self.network.model
        state = "samples"
        if not scaling.trivial:
            state = self.node("Sub", state, self.floats(scaling.centre))
            state = self.node("Div", state, self.floats(scaling.reach))
            state = self.node("Clip", state, self.floats(-1.0), self.floats(1.0))
        for plan in plan_layers(described):
            state = self.layer(plan, state)
        self.node("Identity", state, name="outputs")
        found = [helper.make_tensor_value_info("outputs", kinds.FLOAT, ["samples_", described.outputs])]
        if classes is not None:
            labels = np.array(classes)
            texts = labels.dtype.kind == "U"
            self.node("Softmax", state, name="probabilities", axis=1)
            best = self.node("ArgMax", state, axis=1, keepdims=0)
            named = self.constant(labels if texts else labels.astype(np.int64))
            self.node("Gather", named, best, name="labels", axis=0)
            kind = kinds.STRING if texts else kinds.INT64
            found.append(helper.make_tensor_value_info("probabilities", kinds.FLOAT, ["samples_", described.outputs]))
            found.append(helper.make_tensor_value_info("labels", kind, ["samples_"]))
        source = helper.make_tensor_value_info("samples", kinds.FLOAT, ["samples_", described.inputs])
        graph = helper.make_graph(self.nodes, "network", [source], found, list(self.constants.values()))
        opset = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opset, ir_version=IR, producer_name="dither", doc_string=title)
        self.onnx.checker.check_model(model, full_check=True)
        return model

    def node(self, kind: str, *inputs: str, name: str | None = None, **attributes: Any) -> str:
        """Adds a node with one output and returns the output's name."""
        name = name or f"{kind.lower()}{len(self.nodes)}"
        self.nodes.append(self.onnx.helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def constant(self, values: NDArray[Any]) -> str:
        """Adds a constant and returns its name."""
        name = f"constant{len(self.constants)}"
        if values.dtype.kind == "U":
            texts = [str(text).encode() for text in values]
            made = self.onnx.helper.make_tensor(name, self.onnx.TensorProto.STRING, values.shape, texts)
        else:
            made = self.onnx.numpy_helper.from_array(np.ascontiguousarray(values), name)
        self.constants[name] = made
        return name

    def floats(self, values: Any) -> str:
        """Adds a constant of float32."""
        return self.constant(np.asarray(values, np.float32))

    def shaped(self, state: str, *shape: int) -> str:
        """Adds a change of shape, from the second axis on."""
        return self.node("Reshape", state, self.constant(np.array([-1, *shape], np.int64)))

    def layer(self, plan: LayerPlan, state: str) -> str:
        """Adds a layer and returns its output."""
        layer, held = plan.layer, self.network.parameters
        bias = held[f"{plan.position}.bias"] if layer.bias else None
        if isinstance(layer, RNN):
            return self.recurrence(layer, held[f"{plan.position}.weight"], bias, state)
        if isinstance(layer, Conv2d):
            state = self.convolution(layer, held[f"{plan.position}.weight"], bias, state)
        else:
            for step in plan.steps:
                matrix = np.transpose(held[step.tensor], step.axes).reshape(step.K, step.M)
                if (step.P, step.S) == (1, 1):
                    state = self.node("MatMul", state, self.floats(matrix))
                    continue
                state = self.node("Transpose", self.shaped(state, step.P, step.K, step.S), perm=[0, 1, 3, 2])
                state = self.node("Transpose", self.node("MatMul", state, self.floats(matrix)), perm=[0, 1, 3, 2])
                state = self.shaped(state, step.P * step.M * step.S)
            if bias is not None:
                state = self.node("Add", state, self.floats(bias))
        return state if layer.activation == "none" else self.node(_FUNCTIONS[layer.activation], state)

    def convolution(self, layer: Conv2d, weight: NDArray[Any], bias: NDArray[Any] | None, state: str) -> str:
        """Adds a convolution without its activation function."""
        inputs = [self.shaped(state, *layer.inputs), self.floats(np.transpose(weight, (3, 0, 1, 2)))]
        if bias is not None:
            inputs.append(self.floats(bias))
        found = self.node("Conv", *inputs, strides=list(layer.strides), pads=[*layer.paddings, *layer.paddings])
        return self.shaped(found, layer.output_size)

    def recurrence(self, layer: RNN, weight: NDArray[Any], bias: NDArray[Any] | None, state: str) -> str:
        """Adds a recurrent layer, one time step behind the other."""
        matrix = self.floats(weight)
        offset = self.floats(np.zeros(layer.outputs) if bias is None else bias)
        rows = [f"row{len(self.nodes)}.{number}" for number in range(layer.steps)]
        sizes = self.constant(np.full(layer.steps, layer.inputs, np.int64))
        self.nodes.append(self.onnx.helper.make_node("Split", [state, sizes], rows, axis=1))
        # h_0 is zero: without the rows of the weight that it meets.
        first = self.node("MatMul", rows[0], self.floats(weight[layer.outputs :]))
        states = [self.node(_FUNCTIONS[layer.activation], self.node("Add", first, offset))]
        for row in rows[1:]:
            joined = self.node("Concat", states[-1], row, axis=1)
            total = self.node("Add", self.node("MatMul", joined, matrix), offset)
            states.append(self.node(_FUNCTIONS[layer.activation], total))
        return self.node("Concat", *states, axis=1) if layer.output == "all" else states[-1]
