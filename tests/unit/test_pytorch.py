"""Networks from PyTorch and back; skipped where PyTorch is not installed."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest

from dither import Network, from_torch, to_torch
from dither.nn.models import RNN, Conv2d, Dense, Model, TensorTrain, named_model
from dither.nn.reference import dense_matrix
from dither.pytorch import Factors, automatic_factors, tensor_train

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")
nn = torch.nn


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)


def same(module, network: Network, tolerance: float = 1e-5) -> None:
    """Both give the same outputs, and so does the way back."""
    inputs = np.random.default_rng(0).uniform(-1, 1, (5, network.model.inputs))
    samples = torch.tensor(inputs, dtype=torch.float32)
    with torch.no_grad():
        wanted = module(samples).numpy()
        back = to_torch(network)(samples).numpy()
    assert np.abs(network(inputs) - wanted).max() < tolerance
    assert np.abs(back - wanted).max() < tolerance


class Last(nn.Module):
    def forward(self, inputs):
        return inputs[0][:, -1]


def test_linear_layers() -> None:
    module = nn.Sequential(
        nn.Linear(12, 7),
        nn.Tanh(),
        nn.Sequential(nn.Linear(7, 9, bias=False), nn.ReLU()),
        nn.Identity(),
        nn.Linear(9, 3),
    )
    network = from_torch(module)
    assert network.model == Model((Dense(12, 7, "tanh"), Dense(7, 9, "relu", bias=False), Dense(9, 3)))
    same(module, network)


@pytest.mark.parametrize("padding", [0, 1, (1, 2), "valid", "same"])
def test_convolutions(padding) -> None:
    stride = 1 if padding == "same" else (2, 1)
    module = nn.Sequential(
        nn.Unflatten(1, (2, 7, 6)),
        nn.Conv2d(2, 4, (3, 5), stride, padding),
        nn.ReLU(),
        nn.Conv2d(4, 3, 2, bias=False),
        nn.Flatten(),
        nn.LazyLinear(5),
    )
    module(torch.zeros(1, 84))
    network = from_torch(module)
    assert [type(layer) for layer in network.model.layers] == [Conv2d, Conv2d, Dense]
    same(module, network)


def test_recurrence() -> None:
    rnn = nn.RNN(5, 7, batch_first=True)
    head = nn.Linear(7, 3)
    network = from_torch(nn.Sequential(rnn, head), input_shape=(4, 5))
    assert network.model == Model((RNN(5, 7, 4), Dense(7, 3)))
    same(nn.Sequential(nn.Unflatten(1, (4, 5)), rnn, Last(), head), network)
    assert from_torch(to_torch(network)).model == network.model


@pytest.mark.parametrize("bias", [True, False])
def test_recurrent_layers_that_read_one_another(bias: bool) -> None:
    rnn = nn.RNN(5, 7, num_layers=3, bias=bias, batch_first=True)
    head = nn.Linear(7, 3)
    network = from_torch(nn.Sequential(rnn, head), input_shape=(4, 5))
    first, second = RNN(5, 7, 4, bias=bias, output="all"), RNN(7, 7, 4, bias=bias, output="all")
    assert network.model == Model((first, second, RNN(7, 7, 4, bias=bias), Dense(7, 3)))
    same(nn.Sequential(nn.Unflatten(1, (4, 5)), rnn, Last(), head), network)
    assert from_torch(to_torch(network)).model == network.model


def test_single_layer_and_training_mode_do_not_matter() -> None:
    same(layer := nn.Linear(3, 4).train(), from_torch(layer))


@pytest.mark.parametrize("name", ["digits", "mnist", "mnist-cnn", "mnist-rnn", "mnist-rnn-states", "mnist-rnn-stacked"])
def test_way_back_and_forth(name: str) -> None:
    model = named_model(name)
    network = Network(model, model.initial_parameters(3))
    same(to_torch(network), network)
    again = from_torch(to_torch(network))
    inputs = np.random.default_rng(1).uniform(-1, 1, (4, model.inputs))
    assert np.abs(again(inputs) - network(inputs)).max() < 1e-5


def test_ranks_by_position_and_name() -> None:
    module = nn.Sequential()
    module.add_module("hidden", nn.Linear(64, 32))
    module.add_module("act", nn.ReLU())
    module.add_module("out", nn.Linear(32, 10))
    factors = ((8, 8), (4, 8), 5)
    for ranks in ({0: factors}, {"hidden": factors}):
        network = from_torch(module, ranks)
        assert network.model == Model((TensorTrain((8, 8), (4, 8), 5), Dense(32, 10)))
    whole = from_torch(module, {"hidden": ((8, 8), (4, 8), (32,)), 1: ((4, 8), (2, 5), 8)})
    assert whole.model.layers[1].ranks == (8,)
    same(module, whole)  # Full ranks lose nothing.
    assert {type(layer) for layer in from_torch(module, 2).model.layers} == {TensorTrain}
    assert from_torch(module, 1000).model == from_torch(module).model
    with pytest.raises(ValueError, match="'layer7', which is no linear layer"):
        from_torch(module, {"layer7": 3})
    with pytest.raises(ValueError, match=r"do not make a matrix of shape \(64, 32\)"):
        from_torch(module, {0: ((8, 8), (4, 9), 5)})
    with pytest.raises(ValueError, match="2 input factors need as many"):
        from_torch(module, {0: ((8, 8), (4, 8), (5, 5))})


def test_decomposition_recovers_a_train_and_balances_it() -> None:
    layer = TensorTrain((3, 4, 2), (2, 3, 4), (3, 2))
    rng = np.random.default_rng(0)
    cores = {f"0.core{k}": rng.normal(size=shape) for k, shape in enumerate(layer.weight_shapes().values())}
    matrix = dense_matrix(0, layer, cores)
    found = tensor_train(matrix, Factors(layer.inputs, layer.outputs, (3, 2)))
    assert [core.shape for core in found] == list(layer.weight_shapes().values())
    assert np.allclose(dense_matrix(0, layer, {f"0.core{k}": core for k, core in enumerate(found)}), matrix)
    sizes = [np.sqrt(np.mean(core**2)) for core in found]
    assert np.allclose(sizes, sizes[0])


def test_truncation_is_quasi_optimal() -> None:
    matrix = np.random.default_rng(0).normal(size=(16, 12))
    factors = Factors((4, 4), (3, 4), (5,))
    cores = {f"0.core{k}": core for k, core in enumerate(tensor_train(matrix, factors))}
    error = np.linalg.norm(dense_matrix(0, TensorTrain((4, 4), (3, 4), 5), cores) - matrix)
    unfolded = matrix.reshape(4, 4, 3, 4).transpose(0, 2, 1, 3).reshape(12, 16)
    assert error == pytest.approx(np.sqrt((np.linalg.svd(unfolded)[1][5:] ** 2).sum()))
    assert all(np.isfinite(core).all() for core in tensor_train(np.zeros((16, 12)), factors))


def test_automatic_factors() -> None:
    factors = automatic_factors(784, 1024, 6)
    assert (math.prod(factors.inputs), math.prod(factors.outputs)) == (784, 1024)
    assert factors.parameters < 3000
    assert automatic_factors(13, 7, 3).parameters <= 13 * 7 + 7 * 3


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: nn.Sequential(nn.Linear(3, 4), nn.MaxPool2d(2)), TypeError, r"'1' \(MaxPool2d\).*strides instead"),
        (lambda: nn.Sequential(nn.Linear(3, 4), nn.Softmax(1)), TypeError, "no softmax"),
        (lambda: nn.Sequential(nn.ReLU(), nn.Linear(3, 4)), ValueError, "must follow a linear layer"),
        (lambda: nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Tanh()), ValueError, "must follow"),
        (lambda: nn.Sequential(nn.Conv2d(1, 2, 3)), ValueError, "give input_shape="),
        (lambda: nn.Sequential(nn.RNN(3, 4)), ValueError, "give input_shape="),
        (lambda: nn.Sequential(nn.Unflatten(1, (2, 5, 5)), nn.Conv2d(2, 2, 3, groups=2)), ValueError, "groups"),
        (lambda: nn.Sequential(nn.Unflatten(1, (2, 5, 5)), nn.Conv2d(2, 2, 3), nn.Linear(3, 4)), ValueError, "Flatten"),
        (lambda: nn.Sequential(nn.Unflatten(1, (2, 3)), nn.RNN(3, 4, bidirectional=True)), ValueError, "one direction"),
        (lambda: nn.Sequential(nn.Unflatten(1, (2, 3)), nn.RNN(3, 4, 2, dropout=0.5)), ValueError, "without dropout"),
        (
            lambda: nn.Sequential(nn.Linear(3, 4), nn.Linear(5, 2)),
            ValueError,
            "layer 0 has 4 outputs, but layer 1 takes 5",
        ),
        (lambda: nn.Sequential(), ValueError, "no layers"),
    ],
)
def test_no_equivalent(make, error, message: str) -> None:
    with pytest.raises(error, match=message):
        from_torch(make())


def test_missing_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ImportError, match="pip install torch"):
        from_torch(None)
