import numpy as np
import pytest

from dither.compiler import layer_orders
from dither.nn import reference
from dither.nn.models import Dense, Model, TensorTrain, named_model

TRAINS = [
    TensorTrain((7, 4, 4, 7), (8, 4, 4, 8), 6),
    TensorTrain((8, 4, 4, 8), (1, 5, 2, 1), 6, "none"),
    TensorTrain((2, 3, 5), (3, 1, 4), (2, 5), "tanh", bias=False),
    TensorTrain((6,), (7,), ()),
]


@pytest.mark.parametrize("layer", TRAINS, ids=lambda layer: f"{layer.inputs}x{layer.outputs}")
def test_every_order_is_the_matrix_product(layer: TensorTrain) -> None:
    model = Model((layer,), "squared_error")
    parameters = model.initial_parameters(1)
    x = np.random.default_rng(0).normal(size=(5, layer.input_size))
    matrix = reference.dense_matrix(0, layer, parameters)
    expected = x @ matrix + parameters.get("0.bias", 0.0)
    plans = layer_orders(0, layer)
    assert len(plans) == 2 ** (len(layer.inputs) - 1)
    for plan in plans:
        states = reference.contract_layer(0, layer, plan.steps, parameters, x)
        assert [state.shape[1] for state in states] == [step.output_words for step in plan.steps]
        np.testing.assert_allclose(states[-1], expected, atol=1e-12)


def test_dense_matrix_elements_are_products_of_core_slices() -> None:
    layer = TensorTrain((2, 3), (4, 5), 6)
    parameters = Model((layer,), "squared_error").initial_parameters(0)
    matrix = reference.dense_matrix(0, layer, parameters)
    for n in np.ndindex(2, 3):
        for m in np.ndindex(4, 5):
            product = parameters["0.core0"][:, n[0], m[0]] @ parameters["0.core1"][:, n[1], m[1]]
            assert matrix[n[0] * 3 + n[1], m[0] * 5 + m[1]] == pytest.approx(product.item())


def test_forward_applies_bias_and_activation() -> None:
    model = Model((Dense(3, 4, "sine"), Dense(4, 2, "none", bias=False)))
    p = model.initial_parameters(2)
    x = np.random.default_rng(1).normal(size=(6, 3))
    expected = np.sin(x @ p["0.weight"] + p["0.bias"]) @ p["1.weight"]
    np.testing.assert_allclose(reference.forward(model, p, x), expected)


def test_losses() -> None:
    z = np.array([[0.0, np.log(3.0)], [1000.0, 0.0]])
    np.testing.assert_allclose(reference.sample_losses(named_model("digits"), z, [0, 1]), [np.log(4), 1000])
    squared = Model((Dense(3, 2),), "squared_error")
    np.testing.assert_allclose(reference.sample_losses(squared, z * 0, [[3, 4], [0, 1]]), [25, 1])
