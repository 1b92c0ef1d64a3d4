"""Runs whose steps many devices share: the bits of one device, whoever computes, comes or dies."""

from __future__ import annotations

import math
import os
import pickle
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("distributed", reason="install distributed")

from dither.arch.config import preset
from dither.arch.device import DeviceError
from dither.arch.isa import Memory
from dither.arch.isa.assembler import Assembler
from dither.arch.streams import Expect, Segment
from dither.cluster.messages import seal, unseal
from dither.cluster.office import Office
from dither.cluster.places import LOOPBACK
from dither.cluster.scale import Line, Network, shared_step
from dither.cluster.session import prepare_shared
from dither.compiler import Command, Compiled, Exchange, SharedCommands, State
from dither.data import DATA_VARIABLE
from dither.devices import build_device
from dither.link import measure
from dither.link.driver import LinkDevice
from dither.report import write_report
from dither.report.records import load_record, recorded_experiment
from dither.runs import RunFolder
from dither.train.experiment import Experiment
from dither.train.prepared import Prepared, prepare
from dither.train.session import Session
from dither.train.tasks import load_task
from dither_sim.board import BoardSimulation, SimulatedTransport
from tests.doubles.board import BoardModel, PseudoTerminal
from tests.soak.cluster import Killer, finish

PROBES = {"estimator": "layerwise", "probes": (4, 16)}
MIRROR = {"estimator": ("mirror", "exact"), "probes": 1}
MANY_PROBES = {"estimator": "tensorwise", "probes": 16}
ACTIVITY = {"estimator": ("activity", "exact"), "probes": 64}
SHORT = {"steps": 8, "log_every": 2, "checkpoint_every": 4}


def experiment(recipe: dict, task: str = "digits", **settings) -> Experiment:
    return Experiment.of_task(task, device="golden", recipe=recipe, **(SHORT | settings))


def alone(chosen: Experiment, folder: Path) -> tuple[str, bytes, dict]:
    return finish(prepare(replace(chosen, devices=())), folder)


def shared(chosen: Experiment, *devices: str, said: list[str] | None = None, **settings) -> Prepared:
    say = (said if said is not None else []).append
    return prepare_shared(replace(chosen, devices=devices), say=say, **settings)


@pytest.mark.parametrize(("name", "recipe"), [("probes", PROBES), ("mirror", MIRROR)])
def test_two_devices_give_the_bits_of_one(tmp_path, name, recipe):
    chosen = experiment(recipe)
    prepared = shared(chosen, "golden", "golden")
    assert (
        prepared.session.facts()["shared"]["exchange"]
        == {"probes": "seeds and scalars", "mirror": "gradient sums"}[name]
    )
    assert finish(prepared, tmp_path / "shared") == alone(chosen, tmp_path / "alone")


class Evil:
    """What would leave a trace if anybody unpickled it."""

    trace: Path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.trace,)


def attacks(key: bytes, random: np.random.Generator) -> dict[str, Callable[[bytes], object]]:
    """What somebody could make of an answer on its way; most of them, who has the key."""

    def flipped(message: bytes) -> bytes:
        place = int(random.integers(len(message)))
        return message[:place] + bytes([message[place] ^ int(random.integers(1, 256))]) + message[place + 1 :]

    def sealed(by: bytes = key, name: str = "numbers", kind: str = "i6", change=lambda numbers: numbers, **said):
        def made(message: bytes) -> bytes:
            head, arrays = unseal(key, message, {})
            return seal(by, head | said, {name: (kind, change(arrays["numbers"]))})

        return made

    return {
        "flipped": flipped,
        "cut off": lambda message: message[: len(message) // 2],
        "giant": lambda message: message + bytes(1 << 26),
        "pickled": lambda message: pickle.dumps(Evil()),
        "no bytes": lambda message: {"numbers": 0},
        "nothing": lambda message: b"",
        "another key": sealed(by=bytes(32), change=lambda numbers: numbers + 1),
        "another run": sealed(run="0" * 16),
        "another step": sealed(step=10**6),
        "another question": sealed(asks=[10**9]),
        "other pieces": sealed(pieces=[[0, 1]]),
        "no pieces": sealed(pieces=[[]]),
        "another shape": sealed(change=lambda numbers: numbers[:-1]),
        "an endless shape": sealed(change=lambda numbers: np.zeros((0, 1 << 40), np.int64)),
        "floats": sealed(kind="f8", change=lambda numbers: numbers.astype(float)),
        "another name": sealed(name="master.0.core0"),
    }


@pytest.mark.slow
def test_no_message_changes_a_parameter_but_the_right_one(tmp_path, monkeypatch):
    monkeypatch.setattr("dither.cluster.crew._RETRY_SECONDS", 0.05)
    Evil.trace = tmp_path / "trace"
    chosen = experiment(MIRROR, steps=16, log_every=4)
    said: list[str] = []
    prepared = shared(chosen, "golden", "golden", said=said)
    crew, random = prepared.session.crew, np.random.default_rng(1)
    known, done = attacks(crew.key, random), []
    fetch = crew._fetch

    def disturbed(peer, job):
        message = fetch(peer, job)
        if job.kind != "share" or not isinstance(message, bytes) or random.random() < 0.4:
            return message
        done.append(list(known)[len(done) % len(known)])
        return known[done[-1]](message)

    monkeypatch.setattr(crew, "_fetch", disturbed)
    assert finish(prepared, tmp_path / "shared") == alone(chosen, tmp_path / "alone")
    assert set(done) == set(known)
    assert not Evil.trace.exists()
    assert "refused" in " ".join(said)


@pytest.mark.slow
def test_old_and_foreign_answers_change_nothing(tmp_path, monkeypatch):
    # Whole and sealed, but to another question: what somebody could do who keeps what he has seen.
    monkeypatch.setattr("dither.cluster.crew._RETRY_SECONDS", 0.1)
    chosen = experiment(PROBES, steps=6)
    said: list[str] = []
    prepared = shared(chosen, "golden", "golden", said=said)
    crew, random, seen, replayed = prepared.session.crew, np.random.default_rng(2), [], []
    fetch = crew._fetch

    def disturbed(peer, job):
        message = fetch(peer, job)
        if job.kind != "share" or not isinstance(message, bytes):
            return message
        seen.append(message)
        if len(seen) > 1 and random.random() < 0.4:
            replayed.append(message)
            return seen[int(random.integers(len(seen) - 1))]
        return message

    monkeypatch.setattr(crew, "_fetch", disturbed)
    assert finish(prepared, tmp_path / "shared") == alone(chosen, tmp_path / "alone")
    assert replayed
    assert sum("another question" in text for text in said) == len(replayed)


@pytest.mark.slow
def test_a_device_with_other_parameters_is_found_out(tmp_path, monkeypatch):
    chosen = experiment(PROBES)
    prepared = shared(chosen, "golden", "golden")
    monkeypatch.setattr("dither.cluster.session.state_digest", lambda state: "0" * 64)
    with pytest.raises(DeviceError, match="has other parameters"):
        finish(prepared, tmp_path / "shared")
    monkeypatch.undo()
    # Nothing of the steps since the last check is in the curve; from there, the run goes on.
    assert finish(shared(chosen, "golden"), tmp_path / "shared", resume=True) == alone(chosen, tmp_path / "alone")


@pytest.mark.slow
def test_without_devices_a_run_waits_and_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr("dither.cluster.crew._PATIENCE_SECONDS", 0.2)
    chosen = experiment(MIRROR)
    said: list[str] = []
    prepared = shared(chosen, said=said)
    run = RunFolder.create(tmp_path / "shared", prepared.describe())
    trainer = prepared.trainer(run)
    trainer.start()
    assert not trainer.train(
        report=lambda progress: None, stop=lambda: any("all devices are gone" in text for text in said)
    )
    assert run.load_checkpoint().step == 0
    prepared.close()
    run.close()

    # Now one joins from another process, late, and another takes its place.
    prepared = shared(chosen, said=said)
    words = ["worker", "--device", "golden", "--cluster", prepared.session.crew.office.address]
    code = f"import sys; from dither.cli import main; sys.exit(main({words!r}))"
    workers = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    try:
        found = finish(prepared, tmp_path / "shared", resume=True)
        for worker in workers:
            told, _ = worker.communicate(timeout=60)
            assert "golden belongs to the run" in told
            assert worker.returncode == 0
    finally:
        for worker in workers:
            worker.kill()
    assert found == alone(chosen, tmp_path / "alone")


@pytest.mark.slow
def test_phases_change_what_travels(tmp_path):
    chosen = experiment(PROBES, then=["after=3,estimator=coordinate", "after=3,estimator=tensorwise"])
    assert finish(shared(chosen, "golden", "golden"), tmp_path / "shared") == alone(chosen, tmp_path / "alone")


def owned(folder: Path, sizes: tuple[int, ...] = (300, 1100)) -> tuple[str, ...]:
    """Files of several owners: digits, each with a little noise, so that its bytes are its own."""
    split, random, first, files = load_task("digits").train, np.random.default_rng(3), 0, []
    images = 8 + 8 * split.inputs
    for number, size in enumerate(sizes, 1):
        noisy = np.clip(images[first : first + size] + random.uniform(-1, 1, (size, 64)), 0, 16).astype(np.float32)
        files.append(str(folder / f"owner{number}.npz"))
        np.savez(files[-1], x=noisy, y=split.labels[first : first + size])
        first += size
    return tuple(files)


def owner(prepared: Prepared, part: int, file: str) -> subprocess.Popen[str]:
    """A worker with data of its own."""
    address = prepared.session.crew.office.address
    words = ["worker", "--device", "golden", "--cluster", address, "--part", str(part), "--own", file]
    code = f"import sys; from dither.cli import main; sys.exit(main({words!r}))"
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL)


@pytest.mark.slow
@pytest.mark.parametrize("recipe", [PROBES, MIRROR], ids=["probes", "mirror"])
def test_data_stay_with_their_owners(tmp_path, monkeypatch, recipe):
    import dask
    import distributed.comm.tcp as wire

    monkeypatch.setattr("dither.cluster.crew._PATIENCE_SECONDS", 0.2)
    heard: list[bytes] = []
    read = wire.from_frames

    def listen(frames, *values, **settings):
        heard.extend(bytes(frame) for frame in frames)
        return read(frames, *values, **settings)

    monkeypatch.setattr(wire, "from_frames", listen)
    files, said = owned(tmp_path), []
    chosen = experiment(recipe)
    owners = []
    with dask.config.set({"distributed.comm.compression": None}):
        prepared = shared(replace(chosen, data_of=("worker", "worker")), said=said)
        try:
            # The second owner comes first, and the first when the run has waited for a while.
            owners.append(owner(prepared, 2, files[1]))
            threading.Thread(
                target=lambda: (
                    wait_until(lambda: any("nobody has part 1" in text for text in said)),
                    owners.append(owner(prepared, 1, files[0])),
                )
            ).start()
            found = finish(prepared, tmp_path / "shared")
        finally:
            for process in owners:
                process.kill()
    assert any("nobody has part 1" in text for text in said)
    assert found == alone(replace(chosen, data_of=files), tmp_path / "alone")
    assert found != alone(chosen, tmp_path / "other")

    run = RunFolder.open(tmp_path / "shared")
    assert "300 samples in part 1, " in write_report(run).read_text()
    data = run.description["shared"]["data"]
    assert [data[part]["samples"] for part in "12"] == [300, 1100]
    # All that the run has heard, from whomever: no sample is in it, in no type that it could have.
    everything = b"".join(heard)
    numbers = [frame for frame in heard if b'"numbers"' in frame]
    assert len(numbers) >= 2 * SHORT["steps"]
    for file in files:
        images = np.load(file)["x"]
        inputs = (images - 8) / 8
        kinds = [values.astype(kind) for kind in ("<f4", "<f8") for values in (images, inputs)]
        kinds += [np.rint(inputs * 2.0**bits).astype(f"<i{size}") for bits in (7, 15, 16) for size in (2, 4, 8)]
        for values in kinds:
            assert not any(row[:8].tobytes() in everything for row in values[::7])


def wait_until(true: Callable[[], bool], seconds: float = 120.0) -> None:
    until = time.monotonic() + seconds
    while not true() and time.monotonic() < until:
        time.sleep(0.1)


@pytest.mark.slow
def test_an_owner_that_comes_back_with_other_data_is_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr("dither.cluster.crew._PATIENCE_SECONDS", 0.2)
    files, said = owned(tmp_path, (400, 400)), []
    chosen = replace(experiment(PROBES), data_of=("worker", "worker"))
    prepared = shared(chosen, said=said)
    owners = [owner(prepared, 1, files[0]), owner(prepared, 2, files[1])]
    run = RunFolder.create(tmp_path / "shared", prepared.describe())
    trainer = prepared.trainer(run)
    trainer.start()
    steps: list[int] = []
    assert not trainer.train(
        report=lambda progress: steps.append(progress.step), stop=lambda: bool(steps) and steps[-1] >= 3
    )
    known = {int(part): data for part, data in run.description["shared"]["data"].items()}
    prepared.close()
    run.close()
    for process in owners:
        process.wait(timeout=60)

    prepared = shared(chosen, said=said, known=known)
    owners = [owner(prepared, 2, files[0]), owner(prepared, 1, files[0])]
    threading.Thread(
        target=lambda: (
            wait_until(lambda: any("other samples than part 2" in text for text in said)),
            owners.append(owner(prepared, 2, files[1])),
        )
    ).start()
    try:
        found = finish(prepared, tmp_path / "shared", resume=True)
    finally:
        for process in owners:
            process.kill()
    assert any("other samples than part 2" in text for text in said)
    assert found == alone(replace(chosen, data_of=files), tmp_path / "alone")


@pytest.fixture
def certificates(tmp_path) -> Path:
    """A folder of an authority of its own, and a certificate that it has signed."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificates")
    folder = tmp_path / "tls"
    folder.mkdir()
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc"]
    for words in (
        ["req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=authority"],
        ["req", *key, "-keyout", "key.pem", "-out", "request.pem", "-subj", "/CN=table"],
        ["x509", "-req", "-in", "request.pem", "-CA", "ca.pem", "-CAkey", "ca.key", "-out", "cert.pem"],
    ):
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)
    return folder


def hung_up(place: tuple[str, int], wrap: Callable[[socket.socket], socket.socket]) -> bool:
    """Whether somebody hangs up on who speaks to him, without a word."""
    with socket.create_connection(place) as line:
        try:
            secure = wrap(line)
            secure.sendall(b"x" * 64)
            return not secure.recv(1)
        except (ssl.SSLError, ConnectionError):
            return True


def test_with_certificates_there_are_no_strangers(tmp_path, certificates):
    chosen = experiment(PROBES, steps=2)
    prepared = shared(chosen, "golden", address="tls://127.0.0.1:0", tls=certificates)
    host, port = "127.0.0.1", int(prepared.session.crew.office.address.rpartition(":")[2])
    stranger = ssl.create_default_context(cafile=certificates / "ca.pem")
    stranger.check_hostname = False
    for wrap in (stranger.wrap_socket, lambda line: line):  # without a certificate; without TLS
        assert hung_up((host, port), wrap)
    assert finish(prepared, tmp_path / "shared") == alone(chosen, tmp_path / "alone")


@pytest.mark.slow
def test_a_killed_device_changes_nothing(tmp_path):
    chosen = experiment(PROBES, steps=24)
    said: list[str] = []
    prepared = shared(chosen, "golden", "golden", said=said)
    killer = Killer(prepared, np.random.default_rng(1), 1.0, 100)
    killer.start()
    found = finish(prepared, tmp_path / "shared")
    killer.over.set()
    assert killer.killed
    assert found == alone(chosen, tmp_path / "alone")


@pytest.mark.slow
@pytest.mark.skipif(DATA_VARIABLE not in os.environ, reason=f"{DATA_VARIABLE} does not name MNIST's folder")
@pytest.mark.parametrize("name", ["mnist-tensorwise", "mnist-mirror"])
def test_mnist_has_the_bits_of_its_record_on_any_number_of_workers(tmp_path, name):
    """Digests at every step: those of one device, and the first ones those of the record."""
    record = load_record(Path(__file__).parents[2] / "docs/results" / name)
    chosen = replace(recorded_experiment(record), steps=12, log_every=1, checkpoint_every=6)
    wanted = alone(chosen, tmp_path / "alone")
    for workers in (1, 2, 4, 8):
        folder = tmp_path / str(workers)
        begun = time.monotonic()
        assert finish(shared(chosen, *["golden"] * workers), folder) == wanted
        run = RunFolder.open(folder)
        assert [row.digest for row in run.curve()][1:3] == record["first_digests"]
        told = run.description["shared"]
        sent, received = (sum(each[way] for each in told["devices"]) for way in ("sent", "received"))
        print(
            f"{name}, {workers} workers, {told['exchange']}: {told['payloads'][told['exchange']]:,} bytes a step "
            f"(float {told['float']:,}), in all {sent:,} sent and {received:,} received; "
            f"{time.monotonic() - begun:.0f} s"
        )


@pytest.mark.slow
def test_machines_of_all_kinds_share_a_run(tmp_path):
    """Golden machine, simulated gateware and a board behind a line, of different geometries."""
    chosen = experiment({"batch": 32, "tile": 16, "probes": 1}, engine=preset("1x8"), steps=3, log_every=1)
    board = BoardModel(replace(preset("2x16"), program_depth=3000), name="virtual")
    with PseudoTerminal(board) as terminal:
        found = finish(shared(chosen, "golden", "rtl", terminal.path), tmp_path / "shared")
    board.close()
    samples = {
        device["name"]: device["samples"]
        for device in RunFolder.open(tmp_path / "shared").description["shared"]["devices"]
    }
    assert all(samples.values())
    assert len(samples) == 3
    assert found[:2] == alone(chosen, tmp_path / "alone")[:2]


class Table(SimulatedTransport):
    """A line to a simulated board whose time goes on while nothing moves, as on a real table."""

    idle = 0.0

    def read(self, timeout: float) -> bytes:
        begun = self.simulation.seconds
        found = super().read(timeout)
        if not found:
            self.idle += max(0.0, timeout - (self.simulation.seconds - begun))
        return found

    def now(self) -> float:
        """Seconds by the clock of the table."""
        return self.simulation.seconds + self.idle


@pytest.mark.slow
@pytest.mark.parametrize(("recipe", "exchange"), [(MANY_PROBES, Exchange.SCALARS), (ACTIVITY, Exchange.GRADIENTS)])
def test_the_model_of_a_shared_step_holds_on_simulated_boards(recipe, exchange):
    """In the boards' own time, so that this computer's speed does not matter."""
    chosen = experiment(recipe, engine=preset("1x8"))
    task = chosen.load()
    compiled = chosen.compile(task, chosen.engine).sharing(exchange)
    inputs, targets = (each[0] for each in task.batches(chosen.recipe).take(0, 1))
    commands = SharedCommands(compiled)
    with BoardSimulation(chosen.engine, clock_hz=24_000_000, baud=3_000_000) as board:
        table = Table(board)
        device = LinkDevice(table, chosen.engine, patience=3600.0, shortest_timeout=10.0, now=table.now)
        line = measured_line(device, table)
        session = Session(device, compiled)
        state = compiled.commands.initial_state(chosen.initial_parameters)
        session.load(state)
        numbers = numbers_of(compiled, state, inputs, targets)

        def seconds(*asked: Command) -> float:
            begun = table.now()
            for command in asked:
                session.run(command)
            return table.now() - begun

        quiet = Network(rate=math.inf, latency=0.0, message=0.0)
        for devices in (1, 2, 4, 8):
            per_board = 64 // devices
            asked = [
                commands.share(0, first, inputs[first : first + 32], targets[first : first + 32])
                if per_board >= 32
                else commands.share(0, 0, inputs[:per_board], targets[:per_board])
                for first in range(0, per_board, 32)
            ]
            if exchange is Exchange.GRADIENTS:
                asked.append(commands.collect())
            measured = seconds(*asked) + seconds(commands.apply(0, numbers))
            model = shared_step(compiled, state, inputs, targets, devices, line, quiet).seconds
            error = model / measured - 1
            print(f"{exchange.value}: {devices} boards: {1e3 * measured:.2f} ms, {error:+.1%} by the model")
            assert abs(error) <= 0.1


def numbers_of(compiled: Compiled, state: State, inputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """What all devices together find out in a step, as a golden machine does."""
    commands, tile = SharedCommands(compiled), compiled.recipe.tile
    golden = Session(build_device("golden", compiled.engine), compiled)
    golden.load(state)
    rows = []
    for first in range(0, len(inputs), tile):
        outputs, _ = golden.run(commands.share(0, first, inputs[first : first + tile], targets[first : first + tile]))
        rows.append(commands.read_share(outputs)[1])
    if commands.exchange is Exchange.SCALARS:
        return np.stack(rows)
    return commands.read_collect(golden.run(commands.collect())[0])


def measured_line(device: LinkDevice, table: Table) -> Line:
    """Rates and answering time of a simulated line, in the board's own time."""

    def seconds(transfer: Callable[[], int]) -> tuple[int, float]:
        begun = table.now()
        moved = transfer()
        return moved, table.now() - begun

    code = Assembler()
    code.emit("LOAD", memory=Memory.ACTIVATION, base=0, count=1)
    code.emit("STORE", memory=Memory.ACTIVATION, base=0, count=1)
    code.emit("HALT")
    device.write_program(code.words())
    word = Segment(Memory.ACTIVATION, np.ones((1, device.config.lanes), np.int64))
    _, answer = seconds(lambda: len(device.run(0, [word], [Expect(Memory.ACTIVATION, 1)]).outputs))
    _, round_trip = seconds(lambda: round(device.ping()))
    device.write_program(measure._program(256))
    rates = []
    for transfer in (measure._upload, measure._download):
        moved, spent = seconds(lambda transfer=transfer: transfer(device, 256, 4))
        rates.append(moved / (spent - answer))
    return Line(table.simulation.clock_hz, *rates, answer, round_trip)


@pytest.mark.slow
def test_a_worker_that_its_nanny_has_given_up_is_started_again(monkeypatch):
    monkeypatch.setattr("dither.cluster.office._REVIVAL_SECONDS", 1.0)
    office = Office(["golden"], LOOPBACK, None, None)
    try:
        wait_until(lambda: bool(office.processes()))
        (nanny,) = office._nannies.values()
        instantiate = nanny.instantiate

        async def fail() -> None:
            nanny.instantiate = instantiate
            raise OSError("too busy to start")

        nanny.instantiate = fail
        (before,) = office.workers()
        os.kill(nanny.pid, signal.SIGKILL)
        until = time.monotonic() + 60
        while not office.workers().keys() - {before} and time.monotonic() < until:
            time.sleep(0.2)
        assert office.workers().keys() - {before}
    finally:
        office.close()


def test_a_worker_that_dies_as_it_begins_is_begun_again(monkeypatch):
    from distributed.nanny import Nanny

    instantiate, failed = Nanny.instantiate, []

    async def fail(self) -> object:
        if not failed:
            failed.append(self)
            raise RuntimeError("the process was killed")
        return await instantiate(self)

    monkeypatch.setattr(Nanny, "instantiate", fail)
    office = Office(["golden"], LOOPBACK, None, None)
    try:
        wait_until(lambda: bool(office.workers()))
        assert failed
        assert list(office.workers().values()) == ["golden#1"]
    finally:
        office.close()
