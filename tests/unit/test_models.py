import json

import numpy as np
import pytest

from dither.nn.models import Dense, Model, TensorTrain, named_model


def hjb() -> Model:
    return Model(
        (
            TensorTrain((1, 1, 3, 7), (8, 4, 4, 4), 2, "sine"),
            TensorTrain((4, 4, 4, 8), (8, 4, 4, 4), 2, "sine"),
            Dense(512, 1),
        ),
        "squared_error",
    )


def test_published_sizes() -> None:
    mnist = named_model("mnist")
    assert (mnist.inputs, mnist.outputs, mnist.parameter_count) == (784, 10, 3962)
    assert hjb().parameter_count == 1929
    assert mnist.dense_macs == 802_816 + 10_240


def test_shapes_follow_layer_order() -> None:
    model = Model((TensorTrain((2, 3), (4, 5), 6), Dense(20, 3, bias=False)))
    assert model.parameter_shapes() == {
        "0.core0": (1, 2, 4, 6),
        "0.core1": (6, 3, 5, 1),
        "0.bias": (20,),
        "1.weight": (20, 3),
    }


def test_initial_parameters_are_reproducible_and_scaled() -> None:
    mnist = named_model("mnist")
    first, second = mnist.initial_parameters(3), mnist.initial_parameters(3)
    assert all(np.array_equal(first[name], second[name]) for name in first)
    assert not np.array_equal(first["0.core1"], mnist.initial_parameters(4)["0.core1"])
    expected = (np.sqrt(5 / 784) / 6**3) ** 0.25
    assert first["0.core1"].std() == pytest.approx(expected, rel=0.1)
    assert np.abs(first["0.bias"]).max() <= 1 / 28
    mnist.check_parameters(first)


@pytest.mark.parametrize("model", [named_model("mnist"), named_model("digits"), hjb()], ids=str)
def test_dictionary_round_trip(model: Model) -> None:
    assert Model.from_dict(json.loads(json.dumps(model.to_dict()))) == model


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TensorTrain((2, 3), (4,)), "as many factors, not 2 and 1"),
        (lambda: TensorTrain((2, 0), (4, 4)), "inputs must be positive integers"),
        (lambda: TensorTrain((2, 2), (4, 4), (3, 3)), "2 cores need 1 ranks, not 2"),
        (lambda: TensorTrain((2, 2), (4, 4), 0), "ranks must be positive integers"),
        (lambda: TensorTrain((2, 2), (4, 4), activation="gelu"), "activation must be one of none, relu, sine, tanh"),
        (lambda: Dense(0, 3), "inputs must be a positive integer, not 0"),
        (lambda: Model(()), "at least one layer"),
        (lambda: Model((Dense(4, 5), Dense(6, 2))), "layer 0 has 5 outputs, but layer 1 takes 6"),
        (lambda: Model((Dense(4, 5),), "hinge"), "loss must be one of"),
        (lambda: Model((Dense(4, 1),)), "cross_entropy needs at least 2 outputs"),
        (lambda: Model.from_dict({"layers": [], "loss": "hinge"}), "at least one layer"),
        (lambda: Model.from_dict({"layers": [{"kind": "conv"}], "loss": "hinge"}), "unknown kind of layer 'conv'"),
        (lambda: Model.from_dict({"layers": [{"kind": "dense", "width": 3}], "loss": ""}), "layer of kind dense"),
        (lambda: named_model("resnet"), "unknown model 'resnet'; known: digits, mnist"),
    ],
)
def test_impossible_models(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_parameter_check_names_the_culprit() -> None:
    model = Model((Dense(4, 5),))
    good = model.initial_parameters(0)
    with pytest.raises(ValueError, match=r"parameter 0\.bias is missing"):
        model.check_parameters({"0.weight": good["0.weight"]})
    with pytest.raises(ValueError, match=r"no parameter 1\.bias"):
        model.check_parameters(good | {"1.bias": good["0.bias"]})
    with pytest.raises(ValueError, match=r"shape \(5, 4\), not \(4, 5\)"):
        model.check_parameters(good | {"0.weight": good["0.weight"].T})
