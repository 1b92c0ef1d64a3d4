"""Sharing steps without any process: messages, addresses, divisions, one device and its run."""

from __future__ import annotations

import hmac
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dither.arch.device import DeviceError
from dither.cli import main
from dither.cluster import member
from dither.cluster.answers import Answer, read_answer, write_answer
from dither.cluster.division import Worker, covers, divide, grain
from dither.cluster.member import MemberError, add_answers, answer, open_member
from dither.cluster.messages import MessageError, seal, unseal
from dither.cluster.places import check_place
from dither.compiler import Exchange
from dither.data import AS_THEY_ARE
from dither.train.experiment import Experiment
from dither.train.own import content_digest, read_part
from dither.train.sampler import Sampler
from dither.train.session import pack_state
from dither.train.task import TaskError

KEY = bytes(range(32))


# Messages


def message() -> bytes:
    arrays = {"numbers": ("i6", np.array([[-(2**47), 2**47 - 1], [-1, 3]])), "values": ("f8", np.array([0.5]))}
    return seal(KEY, {"run": "a", "ask": 7}, arrays)


def test_a_message_comes_back():
    head, arrays = unseal(KEY, message(), {"run": str, "ask": int})
    assert head == {"run": "a", "ask": 7}
    np.testing.assert_array_equal(arrays["numbers"], [[-(2**47), 2**47 - 1], [-1, 3]])
    assert arrays["values"].tolist() == [0.5]


@given(st.data())
def test_no_altered_message_is_read(data):
    sent = message()
    kind = data.draw(st.sampled_from(["flip", "cut", "add", "other key"]))
    place = data.draw(st.integers(0, len(sent) - 1))
    match kind:
        case "flip":
            altered = sent[:place] + bytes([sent[place] ^ data.draw(st.integers(1, 255))]) + sent[place + 1 :]
        case "cut":
            altered = sent[:place]
        case "add":
            altered = sent[:place] + b"x" + sent[place:]
        case _:
            altered = seal(KEY[::-1], {"run": "a", "ask": 7}, {})
    with pytest.raises(MessageError):
        unseal(KEY, altered, {"run": str, "ask": int})


@pytest.mark.parametrize("said", [b"", b"x" * 100, None, 3, "text"])
def test_what_is_no_message_is_refused(said):
    with pytest.raises(MessageError):
        unseal(KEY, said, {})


def test_a_sealed_message_of_another_form_is_refused():
    with pytest.raises(MessageError, match="ask must be"):
        unseal(KEY, message(), {"run": str, "ask": str})


def test_impossible_shapes_are_refused():
    sent = seal(KEY, {}, {"numbers": ("i4", np.zeros((0, 5), np.int64))})
    for shape in (b"[0, 9223372036854775807]", b"[" + b"0, " * 99 + b"0]", b"[99999999999999999999]"):
        content = sent[:-32].replace(b"[0, 5]", shape)
        content = (len(content) - 4).to_bytes(4, "little") + content[4:]
        with pytest.raises(MessageError):
            unseal(KEY, content + hmac.digest(KEY, content, "sha256"), {})


@given(st.lists(st.integers(-(2**47), 2**47 - 1)))
def test_all_accumulators_travel(values):
    _, arrays = unseal(KEY, seal(KEY, {}, {"numbers": ("i6", np.array(values, np.int64))}), {})
    assert arrays["numbers"].tolist() == values


# Answers


def an_answer(ask: int, first: int, value: int, **changes) -> Answer:
    fields = {
        "asks": (ask,),
        "step": 3,
        "pieces": ((first, 8),),
        "total": 10,
        "clips": {"requantise": 1, "loss": 0},
        "weights": {first // 16: 5},
        "numbers": np.array([value, -value]),
    }
    return Answer(**fields | changes)


def test_sums_of_answers_do_not_depend_on_the_order():
    parts = [an_answer(number, 8 * number, 2**46 + number) for number in range(4)]
    left = ((parts[0] + parts[1]) + parts[2]) + parts[3]
    right = parts[3] + (parts[1] + (parts[2] + parts[0]))
    np.testing.assert_array_equal(left.numbers, right.numbers)
    assert left.numbers.tolist() == [6, -6]  # modulo 2**48
    assert (left.total, left.clips, left.weights) == (40, {"requantise": 4, "loss": 0}, {0: 5, 1: 5})
    assert right.weights == left.weights
    assert covers(left.pieces, 32)
    assert sorted(right.asks) == [0, 1, 2, 3]


def test_answers_that_do_not_go_together_are_not_added():
    with pytest.raises(MessageError, match="different steps"):
        an_answer(1, 0, 1) + an_answer(2, 8, 1, step=4)
    with pytest.raises(MessageError, match="different weights"):
        an_answer(1, 0, 1) + an_answer(2, 8, 1, weights={0: 6})


@pytest.mark.parametrize(
    "head",
    [
        {"total": -1},
        {"asks": ["one"]},
        {"clips": {"requantise": 1}},
        {"weights": {"-1": 1}},
        {"pieces": [[1, 2, 3]]},
        {"run": "another"},
        {"step": None},
    ],
)
def test_answers_that_make_no_sense_are_refused(head):
    sent = write_answer(KEY, "run", Exchange.GRADIENTS, an_answer(1, 0, 1))
    said, arrays = unseal(KEY, sent, {})
    assert read_answer(KEY, "run", sent).numbers.tolist() == [1, -1]
    with pytest.raises(MessageError):
        read_answer(KEY, "run", seal(KEY, said | head, {"numbers": ("i6", arrays["numbers"])}))


# Divisions


@given(
    tiles=st.integers(1, 6),
    speeds=st.lists(st.tuples(st.sampled_from([1, 2, 4, 8, 16]), st.none() | st.floats(0.1, 1e6)), max_size=9),
    data=st.data(),
)
def test_every_sample_is_given_once(tiles, speeds, data):
    batch, tile = 16 * tiles, 16
    todo = [(first, tile) for first in range(0, batch, tile)]
    workers = {str(number): Worker(*each) for number, each in enumerate(speeds)}
    given_pieces, left = divide(todo, tile, workers)
    pieces = [piece for each in given_pieces.values() for piece in each]
    assert covers([*pieces, *left], batch)
    assert not left or not workers
    for name, mine in given_pieces.items():
        for first, count in mine:
            assert first % workers[name].lanes == count % workers[name].lanes == 0
            assert first // tile == (first + count - 1) // tile
    # Whoever takes some of it over, with other lanes, leaves or takes all of it, too.
    if pieces:
        lost = data.draw(st.sampled_from(pieces))
        taken, rest = divide([lost], tile, {"new": Worker(data.draw(st.sampled_from([1, 4, 16])))})
        assert sum(count for _, count in [*taken.get("new", ()), *rest]) == lost[1]


def test_a_slow_device_gets_less():
    given_pieces, _ = divide([(0, 64)], 64, {"fast": Worker(4, 300.0), "slow": Worker(4, 100.0)})
    assert {name: sum(count for _, count in mine) for name, mine in given_pieces.items()} == {"fast": 48, "slow": 16}


@pytest.mark.parametrize(
    ("batch", "tile", "devices", "size"),
    [(64, 32, 1, 32), (64, 32, 2, 16), (128, 128, 8, 8), (128, 128, 1, 128), (8, 4, 9, 1)],
)
def test_software_takes_pieces_small_enough_for_all(batch, tile, devices, size):
    assert grain(batch, tile, batch, devices) == size


# Addresses


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:0", "127.0.0.1:8786", "tcp://localhost:1", "tcp://[::1]:5"])
def test_this_computer_needs_no_certificates(address):
    assert check_place(address, None)[0] == "tcp"


@pytest.mark.parametrize(
    "address", ["tcp://0.0.0.0:8786", "tcp://10.0.0.1:8786", "tls://127.0.0.1:1", "tcp://example.org:1", "[::]:1"]
)
def test_other_addresses_need_certificates(address):
    with pytest.raises(DeviceError, match="certificates"):
        check_place(address, None)


@pytest.mark.parametrize("address", ["", "127.0.0.1", "http://127.0.0.1:1", "tcp://127.0.0.1:99999", "tcp://:1"])
def test_what_is_no_address_is_refused(address):
    with pytest.raises(DeviceError, match="is no address"):
        check_place(address, None)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--devices", "golden", "--cluster", "tcp://0.0.0.0:8786"], "certificates"),
        (["--cluster", "tcp://192.168.0.1:1"], "certificates"),
        (["--devices", "golden,gold"], "unknown device 'gold'"),
        (["--devices", "/dev/ttyUSB0,/dev/ttyUSB0"], "twice"),
        (["--tls", "certificates"], "--devices"),
        (["--dashboard"], "--dashboard is for steps that devices share"),
        (["--data-of", "worker"], "how many workers"),
        (["--data-of", "worker:2"], "give --cluster"),
        (["--data-of", "worker:2,a.npz"], "not both"),
        (["--data-of", "none.npz"], "there is no none.npz"),
        (["--data-of", "worker:3", "--cluster", "tcp://127.0.0.1:0"], "cannot be divided among 3"),
        (["--data-of", "worker:2", "--devices", "golden"], "leave --devices out"),
        (["--data-of", "a.npz", "--devices", "golden"], "for one device"),
        (["--devices", "golden", "--waves", "x.vcd:1-1"], "--waves"),
    ],
)
def test_refusals_are_one_line(words, complaint, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["train", "digits", *words]) == 2
    said = capsys.readouterr().err
    assert complaint in said
    assert said.startswith("dither: ")
    assert said.count("\n") == 1
    assert not [*tmp_path.iterdir()]


def test_a_worker_without_certificates_stays_on_this_computer(capsys):
    assert main(["worker", "--device", "golden", "--cluster", "tcp://10.0.0.1:8786"]) == 2
    assert "certificates" in capsys.readouterr().err


def test_missing_certificates_are_named(capsys, tmp_path):
    pytest.importorskip("distributed", reason="install distributed")
    words = ["train", "digits", "--devices", "golden", "--cluster", "tls://127.0.0.1:0", "--tls", str(tmp_path)]
    assert main(words) == 2
    assert "ca.pem is missing" in capsys.readouterr().err
    for name in ("ca.pem", "cert.pem", "key.pem"):
        (tmp_path / name).write_text("no certificate")
    assert main(words) == 2
    assert "the certificates cannot be used" in capsys.readouterr().err


def test_a_dashboard_needs_its_package(capsys, tmp_path, monkeypatch):
    pytest.importorskip("distributed", reason="install distributed")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    (tmp_path / "sweep.toml").write_text('task = "digits"\nsteps = 2\n[vary]\nseed = [1]\n')
    for words in (["train", "digits", "--devices", "golden"], ["sweep", "sweep.toml"]):
        assert main([*words, "--dashboard"]) == 2
        said = capsys.readouterr().err
        assert "pip install bokeh" in said
        assert said.count("\n") == 1


def test_dask_is_not_imported_before_it_is_needed():
    code = "import sys, dither.cli.train, dither.cli.worker; sys.exit(bool({'dask', 'distributed'} & {*sys.modules}))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


# One device and its run


@pytest.fixture
def opened() -> Iterator[dict]:
    """This process' own device, opened by a run; what questions need to say."""
    chosen = Experiment.of_task("digits", device="golden", recipe={"estimator": ("mirror", "exact"), "probes": 1})
    head = {"run": "run", "choices": chosen.choices(), "exchange": "gradient sums", "grain": 16, "parts": 0}
    open_member(KEY, seal(KEY, head, {}), "golden")
    compiled = member._only().session.compiled
    state = pack_state(compiled.commands.initial_state(chosen.initial_parameters))
    question = {
        "run": "run",
        "ask": 1,
        "version": 1,
        "phase": 0,
        "exchange": "gradient sums",
        "step": 0,
        "pieces": [[0, 32]],
        "updates": [],
        "check": False,
    }
    arrays = {name: (member.KINDS[name.split(".")[0]], values) for name, values in state.items()}
    yield {"question": question, "arrays": arrays, "head": head}
    member._give_back()


def ask(opened: dict, arrays: dict | None = None, **changes) -> Answer:
    said = seal(KEY, opened["question"] | changes, opened["arrays"] if arrays is None else arrays)
    return read_answer(KEY, "run", answer(said))


def test_a_device_answers_about_its_pieces_alone(opened):
    both = ask(opened, pieces=[[0, 32], [32, 32]])
    first, second = ask(opened), ask(opened, {}, ask=2, pieces=[[32, 32]])
    np.testing.assert_array_equal((first + second).numbers, both.numbers)
    assert (first + second).total == both.total
    assert np.abs(second.numbers).max() > 0
    # The same question twice has the same answer, though the device's sums go on.
    np.testing.assert_array_equal(ask(opened, {}, ask=3, pieces=[[32, 32]]).numbers, second.numbers)


def test_a_device_does_not_answer_to_what_was_altered(opened):
    sent = bytearray(seal(KEY, opened["question"], opened["arrays"]))
    sent[-40] ^= 1
    with pytest.raises(MemberError, match="seal"):
        answer(bytes(sent))
    with pytest.raises(MemberError, match="seal"):
        answer(seal(KEY[::-1], opened["question"], opened["arrays"]))
    with pytest.raises(MemberError, match="another run"):
        ask(opened, run="another")
    ask(opened)


def test_a_device_without_the_parameters_says_so(opened):
    with pytest.raises(MemberError, match="does not have"):
        ask(opened, {})
    ask(opened)
    with pytest.raises(MemberError, match="does not have"):
        ask(opened, {}, version=5)


def test_altered_answers_are_not_added(opened):
    first = answer(seal(KEY, opened["question"], opened["arrays"]))
    second = answer(seal(KEY, opened["question"] | {"ask": 2, "pieces": [[32, 32]]}, {}))
    assert read_answer(KEY, "run", add_answers(first, second)).asks == (1, 2)
    with pytest.raises(MemberError, match="seal"):
        add_answers(first, second[:-60] + bytes([second[-60] ^ 1]) + second[-59:])


def test_a_device_that_was_not_opened_says_so():
    with pytest.raises(MemberError, match="no run"):
        answer(b"")


def test_choices_make_the_same_experiment():
    chosen = Experiment.of_task(
        "digits",
        device="golden",
        recipe={"probes": 2},
        then=["after=3,rate=0.001"],
        network="digits",
        ranks=2,
        steps=7,
    )
    again = Experiment.of_choices(chosen.choices(), None)
    assert again == chosen
    assert again.command() == chosen.command()


# Data of several owners


def owned(path, samples: int, **changes) -> str:
    random = np.random.default_rng(samples)
    np.savez(path, **{"x": random.uniform(0, 16, (samples, 64)), "y": np.arange(samples) % 10} | changes)
    return str(path)


def test_each_step_takes_equal_parts_of_all_owners(tmp_path):
    files = (owned(tmp_path / "a.npz", 40), owned(tmp_path / "b.npz", 70))
    chosen = Experiment.of_task("digits", device="golden", recipe={"batch": 16, "tile": 8})
    task = replace(chosen, data_of=files).load()
    inputs, labels = task.batches(chosen.recipe).take(3, 2)
    for number, (file, size) in enumerate(zip(files, (40, 70), strict=True)):
        order = Sampler(samples=size, batch=8, seed=chosen.recipe.seed).indices(3, 2)
        mine, held = slice(8 * number, 8 * number + 8), np.load(file)
        np.testing.assert_array_equal(inputs[:, mine], task.scaling(held["x"])[order])
        np.testing.assert_array_equal(labels[:, mine], held["y"][order])
    assert content_digest(task) != content_digest(chosen.load())


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"x": np.zeros((5, 63)), "y": np.arange(5)}, "63 features"),
        ({"y": np.arange(20) + 5}, "labels must be integers from 0 to 9"),
    ],
)
def test_data_that_do_not_go_with_the_task_are_refused(tmp_path, changes, complaint):
    chosen = Experiment.of_task("digits", device="golden", recipe={})
    with pytest.raises(TaskError, match=complaint):
        replace(chosen, data_of=(owned(tmp_path / "a.npz", 20, **changes),)).load()


def test_data_that_are_not_scaled_as_the_task_are_refused(tmp_path):
    task = replace(Experiment.of_task("digits", device="golden", recipe={}).load(), scaling=AS_THEY_ARE)
    with pytest.raises(TaskError, match="inputs reach 1"):
        read_part(owned(tmp_path / "a.npz", 20), task)


def test_a_file_and_a_part_belong_together(capsys):
    assert main(["worker", "--device", "golden", "--cluster", "tcp://127.0.0.1:1", "--part", "1"]) == 2
    assert "belong together" in capsys.readouterr().err


def test_an_owner_answers_about_its_own_samples_alone(tmp_path, monkeypatch, opened):
    with pytest.raises(MemberError, match="data of its 2 workers"):
        open_member(KEY, opened_with(opened, parts=2), "golden")
    monkeypatch.setenv(member.OWN_DATA, owned(tmp_path / "a.npz", 50))
    monkeypatch.setenv(member.OWN_PART, "2")
    with pytest.raises(MemberError, match="does not train on data of its workers"):
        open_member(KEY, opened_with(opened, parts=0), "golden")
    with pytest.raises(MemberError, match="no whole groups of 16"):
        open_member(KEY, opened_with(opened, parts=8), "golden")
    said, _ = unseal(KEY, open_member(KEY, opened_with(opened, parts=2), "golden"), {})
    assert (said["part"], said["data"]["samples"]) == (2, 50)
    assert ask(opened, pieces=[[32, 32]]).pieces == ((32, 32),)
    for pieces in ([[0, 32]], [[16, 32]], [[48, 32]]):
        with pytest.raises(MemberError, match="samples that this device does not have"):
            ask(opened, pieces=pieces)


def opened_with(opened: dict, **changes) -> bytes:
    return seal(KEY, opened["head"] | changes, {})


def test_choices_with_owners_make_the_same_experiment(tmp_path):
    files = (owned(tmp_path / "a.npz", 40), owned(tmp_path / "b.npz", 70))
    for data_of in (files, ("worker", "worker")):
        chosen = replace(Experiment.of_task("digits", device="golden", recipe={}), data_of=data_of)
        assert Experiment.of_choices(chosen.choices(), None) == chosen
        assert f"--data-of {'worker:2' if data_of != files else ','.join(files)}" in chosen.command()


def test_a_run_of_several_owners_goes_on_with_the_same_data_alone(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    owned(tmp_path / "a.npz", 40)
    owned(tmp_path / "b.npz", 70)
    words = ["train", "digits", "--data-of", "a.npz,b.npz", "--batch", "32", "--tile", "16", "--probes", "1"]
    assert main([*words, "--steps", "4", "--log-every", "2", "--out", "whole"]) == 0
    assert main([*words, "--steps", "2", "--log-every", "2", "--out", "run"]) == 0
    monkeypatch.chdir("/")
    assert main(["train", "--resume", str(tmp_path / "run"), "--steps", "4"]) == 0
    assert main(["compare", str(tmp_path / "whole"), str(tmp_path / "run"), "--no-plot"]) == 0
    assert main(["train", str(tmp_path / "run" / "run.toml"), "--steps", "4", "--out", str(tmp_path / "again")]) == 0
    assert main(["compare", str(tmp_path / "whole"), str(tmp_path / "again"), "--no-plot"]) == 0
    capsys.readouterr()
    assert main(["record", str(tmp_path / "run"), str(tmp_path / "record"), "--title", "x", "--group", "sweep"]) == 2
    assert "data of several owners" in capsys.readouterr().err
    owned(tmp_path / "b.npz", 71)
    assert main(["train", "--resume", str(tmp_path / "run"), "--steps", "6"]) == 2
    assert "data of owners have changed" in capsys.readouterr().err
