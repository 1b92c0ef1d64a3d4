"""Data sets: found in folders, downloaded from a server, refused where they are damaged."""

from __future__ import annotations

import gzip
import hashlib
import os
import struct
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from dither.cli import main
from dither.data import DATA_VARIABLE, IMAGE_SETS, DataError, Images, ImageSet, RemoteFile, read_idx
from dither.train.tasks import TaskError, load_task

Files = dict[str, RemoteFile]


def idx(array: np.ndarray) -> bytes:
    return (
        bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape) + array.astype(np.uint8).tobytes()
    )


def contents(train: int = 7, test: int = 3) -> dict[str, bytes]:
    rng = np.random.default_rng(0)
    made = {}
    for name, count in (("train", train), ("test", test)):
        made[f"{name} images"] = idx(rng.integers(0, 256, (count, 28, 28)))
        made[f"{name} labels"] = idx(rng.integers(0, 10, count))
    return made


def digests(made: dict[str, bytes]) -> Files:
    return {
        kind: RemoteFile(IMAGE_SETS["mnist"].files[kind].name, hashlib.sha256(content).hexdigest())
        for kind, content in made.items()
    }


def write(folder: Path, made: dict[str, bytes], packed: bool) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for kind, content in made.items():
        name = IMAGE_SETS["mnist"].files[kind].name
        (folder / (f"{name}.gz" if packed else name)).write_bytes(gzip.compress(content) if packed else content)


@pytest.fixture(autouse=True)
def no_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(DATA_VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path, list[str]]]:
    """URL, folder and list of requests of a server."""
    folder, requests = tmp_path / "served", []
    folder.mkdir()

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            requests.append(self.path)
            super().do_GET()

        def log_message(self, format: str, *arguments: object) -> None:
            """No noise."""

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    thread = threading.Thread(target=httpd.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{httpd.server_port}", folder, requests
    httpd.shutdown()
    thread.join()
    httpd.server_close()


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("variable", [False, True])
def test_given_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packed: bool, variable: bool) -> None:
    made = contents()
    write(tmp_path / "here", made, packed)
    if variable:
        monkeypatch.setenv(DATA_VARIABLE, str(tmp_path / "here"))
    train, test = ImageSet("mnist", digests(made), ()).load(None if variable else tmp_path / "here")
    assert idx(train.pixels) == made["train images"]
    assert idx(test.labels) == made["test labels"]
    scaled = test.scaled()
    assert scaled.shape == (3, 784)
    assert np.allclose((scaled + 1) * 127.5, test.pixels.reshape(3, -1), atol=1e-4)
    assert scaled.min() >= -1
    assert scaled.max() <= 1


def test_averaged_images() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (3, 28, 28)).astype(np.uint8)
    small = Images(pixels, np.zeros(3, np.int64)).averaged(8)
    assert small.pixels.shape == (3, 8, 8)
    # The first one covers three and a half rows and columns.
    weights = np.array([1, 1, 1, 0.5])
    corner = weights @ pixels[0, :4, :4].astype(float) @ weights / 3.5**2
    assert small.pixels[0, 0, 0] == pytest.approx(corner, rel=1e-5)
    assert np.allclose(small.pixels.mean(axis=(1, 2)), pixels.mean(axis=(1, 2)), rtol=1e-5)
    assert np.allclose(small.scaled(), small.pixels.reshape(3, -1) / 127.5 - 1, atol=1e-6)
    assert np.array_equal(Images(pixels, np.zeros(3, np.int64)).averaged(28).pixels, pixels)


def test_a_folder_for_several_sets(tmp_path: Path) -> None:
    digits, clothes = contents(), contents(train=8)
    write(tmp_path, digits, True)
    (tmp_path / "fashion-mnist").mkdir()
    write(tmp_path / "fashion-mnist", clothes, True)
    for name, made in (("mnist", digits), ("fashion-mnist", clothes)):
        train, _ = ImageSet(name, digests(made), ()).load(tmp_path)
        assert idx(train.pixels) == made["train images"]


def test_a_given_folder_is_never_downloaded_into(tmp_path: Path, server: tuple[str, Path, list[str]]) -> None:
    url, served, requests = server
    made = contents()
    write(served, made, True)
    (tmp_path / "mine").mkdir()
    with pytest.raises(DataError, match=r"holds neither train-images-idx3-ubyte nor .*\.gz; .*--data"):
        ImageSet("mnist", digests(made), (url,)).load(tmp_path / "mine")
    assert not requests
    assert not list((tmp_path / "mine").iterdir())


def test_download_once_into_the_cache(tmp_path: Path, server: tuple[str, Path, list[str]]) -> None:
    url, served, requests = server
    made = contents()
    write(served, made, True)
    for _ in range(2):
        train, _ = ImageSet("mnist", digests(made), (f"{url}/nowhere", url)).load(None)
        assert idx(train.pixels) == made["train images"]
    assert len([path for path in requests if "nowhere" not in path]) == 4
    assert len(requests) == 8
    assert len(list((tmp_path / "cache/dither/data/mnist").iterdir())) == 4


@pytest.mark.parametrize("damage", ["truncated", "other", "no gzip", "empty"])
def test_damaged_downloads_are_not_kept(tmp_path: Path, server: tuple[str, Path, list[str]], damage: str) -> None:
    url, served, _ = server
    made = contents()
    write(served, made | ({"test labels": made["train labels"]} if damage == "other" else {}), True)
    victim = served / f"{IMAGE_SETS['mnist'].files['test labels'].name}.gz"
    if damage != "other":
        whole = victim.read_bytes()
        victim.write_bytes({"truncated": whole[:-9], "no gzip": b"<html>", "empty": b""}[damage])
    with pytest.raises(
        DataError, match=r"t10k-labels-idx1-ubyte .* could not be downloaded .*; put .* --data"
    ) as caught:
        ImageSet("mnist", digests(made), (url,)).load(None)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "cache/dither/data/mnist" / victim.name).exists()


@pytest.mark.parametrize("packed", [False, True])
def test_damaged_files(tmp_path: Path, packed: bool) -> None:
    made = contents()
    write(tmp_path, made, packed)
    path = tmp_path / (IMAGE_SETS["mnist"].files["train images"].name + ".gz" * packed)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match=f"{path.name} is (damaged|no whole gzip file)"):
        ImageSet("mnist", digests(made), ()).load(tmp_path)
    write(tmp_path, contents(train=8), packed)
    with pytest.raises(DataError, match=f"{path.name} is damaged, or of another data set: its digest"):
        ImageSet("mnist", digests(made), ()).load(tmp_path)


def test_images_and_labels_must_agree(tmp_path: Path) -> None:
    made = contents() | {"test labels": idx(np.zeros(4))}
    write(tmp_path, made, True)
    with pytest.raises(DataError, match="holds 3 test images, but 4 labels"):
        ImageSet("mnist", digests(made), ()).load(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no IDX file"),
        (idx(np.zeros((2, 2))), "no IDX file of unsigned bytes with 3 axes"),
        (idx(np.zeros((2, 2, 2)))[:-1], "has 23 bytes, but its header asks for 24"),
        (idx(np.zeros((2, 2, 2))) + b"x", "has 25 bytes"),
        (b"\0\0\x0d\3" + bytes(12), "no IDX file"),
    ],
)
def test_idx(content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_idx(content, 3, "file")


def test_task_without_data(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="holds neither train-images-idx3-ubyte"):
        load_task("mnist", data=tmp_path)


def test_command_without_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "mnist", "--data", str(tmp_path), "--out", str(tmp_path / "run")]) == 2
    assert "holds neither train-images-idx3-ubyte" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    assert main(["train", "digits", "--data", str(tmp_path), "--out", str(tmp_path / "run")]) == 2
    assert "digits needs no files; leave the data folder out" in capsys.readouterr().err


REAL = os.environ.get(DATA_VARIABLE)


def test_the_real_files(monkeypatch: pytest.MonkeyPatch, mnist: Path) -> None:
    if REAL is not None:
        monkeypatch.setenv(DATA_VARIABLE, REAL)
    task = load_task("mnist", data=mnist)
    assert dict(task.samples) == {"train": 60_000, "test": 10_000}
    assert task.range_inputs.shape[1] == 784
    assert (float(task.range_inputs.min()), float(task.range_inputs.max())) == (-1.0, 1.0)
