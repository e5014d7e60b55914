"""Downloads from a small server on this machine, through torchvision's own code."""

import hashlib
import http.server
import io
import pickle
import socket
import struct
import tarfile
import threading
import time

import numpy as np
import pytest
from torchvision.datasets import CIFAR10, FashionMNIST

import moebench.tasks.places as downloads
from moebench.errors import DataError
from moebench.tasks import get_task


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves the bytes in ``files``; announces more than it sends for names in ``cut``."""

    files: dict[str, bytes]
    cut: set[str]

    def do_HEAD(self):
        content = self.files.get(self.path[1:])
        self.send_response(404 if content is None else 200)
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        return content

    def do_GET(self):
        content = self.do_HEAD() or b""
        self.wfile.write(content[: len(content) // 2] if self.path[1:] in self.cut else content)

    def log_message(self, *_):
        pass


@pytest.fixture
def serve():
    """serve(files, cut=()) -> address of a server that gives them."""
    running = []

    def start(files, cut=()):
        handler = type("Files", (Handler,), {"files": files, "cut": set(cut)})
        server = http.server.HTTPServer(("127.0.0.1", 0), handler)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        running.append((server, thread))
        return f"http://127.0.0.1:{server.server_port}/"

    yield start
    for server, thread in running:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("MOEBENCH_DATA", raising=False)


def md5(content):
    return hashlib.md5(content).hexdigest()


def fashion_files():
    import gzip

    arrays = {}
    for stem, n in (("train", 60), ("t10k", 12)):
        images = np.arange(n * 784, dtype=np.uint32).astype(np.uint8)
        labels = (np.arange(n) % 10).astype(np.uint8)
        arrays[f"{stem}-images-idx3-ubyte.gz"] = struct.pack(">4I", 0x0803, n, 28, 28) + images.tobytes()
        arrays[f"{stem}-labels-idx1-ubyte.gz"] = struct.pack(">2I", 0x0801, n) + labels.tobytes()
    return {name: gzip.compress(content) for name, content in arrays.items()}


def use_fashion(monkeypatch, address, files):
    monkeypatch.setattr(FashionMNIST, "mirrors", [address])
    monkeypatch.setattr(FashionMNIST, "resources", [(name, md5(files[name])) for name in files])


def test_missing_data_are_downloaded_into_the_named_directory_once(tmp_path, monkeypatch, serve):
    files = fashion_files()
    use_fashion(monkeypatch, serve(files), files)
    task = get_task("fashion_mnist")
    first = task.digest(tmp_path / "data")
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["FashionMNIST"]
    raw = sorted(path.name for path in (tmp_path / "data/FashionMNIST/raw").iterdir())
    assert raw == sorted(name.removesuffix(".gz") for name in files)
    use_fashion(monkeypatch, "http://127.0.0.1:9/", files)  # nobody answers there
    assert task.digest(tmp_path / "data") == first
    assert len(task.load("train", tmp_path / "data")) == 50


def test_without_a_name_a_download_goes_to_the_users_cache(tmp_path, monkeypatch, serve):
    from moebench.tasks.mnist import IdxSource

    files = fashion_files()
    use_fashion(monkeypatch, serve(files), files)
    known = get_task("fashion_mnist").source
    source = IdxSource(known.title, known.folders, known.torchvision, known.image, known.classes)
    assert len(source.read("train", None).labels_N) == 60
    assert (tmp_path / "cache/moebench/data/FashionMNIST/raw").is_dir()


def test_a_download_cut_off_leaves_nothing_that_would_be_trusted(tmp_path, monkeypatch, serve):
    files = fashion_files()
    use_fashion(monkeypatch, serve(files, cut=["t10k-images-idx3-ubyte.gz"]), files)
    for _ in range(2):
        with pytest.raises(DataError, match="could not be downloaded"):
            get_task("fashion_mnist").load("train", tmp_path)
        assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_download_that_fails_keeps_what_the_user_has(tmp_path, monkeypatch):
    (tmp_path / "data/fashion-mnist").mkdir(parents=True)
    kept = tmp_path / "data/fashion-mnist/train-labels-idx1-ubyte.gz"
    kept.write_bytes(b"mine")
    files = fashion_files()
    use_fashion(monkeypatch, "http://127.0.0.1:9/", files)
    with pytest.raises(DataError, match=r"Connection refused.* put the missing train-images"):
        get_task("fashion_mnist").load("train", tmp_path / "data")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [kept]
    assert kept.read_bytes() == b"mine"


def test_a_download_completes_a_set_without_replacing_a_file_that_is_there(tmp_path, monkeypatch, serve):
    files = fashion_files()
    use_fashion(monkeypatch, serve(files), files)
    mine = tmp_path / "FashionMNIST/raw/t10k-labels-idx1-ubyte"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(struct.pack(">2I", 0x0801, 12) + bytes([7] * 12))
    assert get_task("fashion_mnist").load("test", tmp_path).targets["class"].tolist() == [7] * 12


def test_a_server_that_never_answers_does_not_hold_the_run(tmp_path, monkeypatch):
    before = socket.getdefaulttimeout()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        use_fashion(monkeypatch, f"http://127.0.0.1:{silent.getsockname()[1]}/", fashion_files())
        monkeypatch.setattr(downloads, "TIMEOUT_S", 0.3)
        start = time.monotonic()
        with pytest.raises(DataError, match="timed out"):
            get_task("fashion_mnist").load("train", tmp_path / "data")
    assert time.monotonic() - start < 5
    assert socket.getdefaulttimeout() == before
    assert not (tmp_path / "data").exists()


def cifar_archive():
    """A small archive like cifar-10-python.tar.gz: its bytes, and those of its members by name."""
    rng = np.random.default_rng(0)
    members = {"batches.meta": pickle.dumps({"label_names": [str(i) for i in range(10)]})}
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        data = rng.integers(0, 256, (20, 3072), dtype=np.uint8)
        members[name] = pickle.dumps({"data": data, "labels": [i % 10 for i in range(20)]})
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue(), members


def use_cifar(monkeypatch, address, archive, members):
    sums = {name: md5(content) for name, content in members.items()}
    monkeypatch.setattr(CIFAR10, "url", f"{address}cifar-10-python.tar.gz")
    monkeypatch.setattr(CIFAR10, "tgz_md5", md5(archive))
    monkeypatch.setattr(CIFAR10, "train_list", [[f"data_batch_{i}", sums[f"data_batch_{i}"]] for i in range(1, 6)])
    monkeypatch.setattr(CIFAR10, "test_list", [["test_batch", sums["test_batch"]]])
    monkeypatch.setattr(CIFAR10, "meta", CIFAR10.meta | {"md5": sums["batches.meta"]})


def test_cifar_is_downloaded_and_read_as_torchvision_lays_it_out(tmp_path, monkeypatch, serve):
    archive, members = cifar_archive()
    use_cifar(monkeypatch, serve({"cifar-10-python.tar.gz": archive}), archive, members)
    task = get_task("cifar10")
    train = task.load("train", tmp_path / "data")
    assert train.inputs.shape == (90, 3, 32, 32)
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["cifar-10-batches-py"]
    pixels = task.source.read("test", tmp_path / "data").images_NCHW
    assert pixels[3].tobytes() == pickle.loads(members["test_batch"])["data"][3].tobytes()


def test_a_changed_cifar_batch_is_named_and_never_unpickled(tmp_path, monkeypatch):
    archive, members = cifar_archive()
    use_cifar(monkeypatch, "http://127.0.0.1:9/", archive, members)
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for name, content in members.items():
        (folder / name).write_bytes(content)
    (folder / "data_batch_3").write_bytes(b"cos\nsystem\n(S'exit 1'\ntR.")
    with pytest.raises(DataError, match="data_batch_3' is missing or has not the checksum"):
        get_task("cifar10").load("train", tmp_path)
    assert len(list(folder.iterdir())) == len(members)


def test_offline_cifar_says_where_to_put_what(tmp_path, monkeypatch):
    monkeypatch.setattr(CIFAR10, "url", "http://127.0.0.1:9/cifar-10-python.tar.gz")
    with pytest.raises(DataError, match="could not be downloaded") as caught:
        get_task("cifar10").digest(tmp_path / "data")
    assert f"into '{tmp_path / 'data' / 'cifar10'}'" in str(caught.value)
    assert "cifar-10-python.tar.gz" in str(caught.value)
