"""`--scheduler` and `tfdump.cluster`: a scheduler and two workers that run already, as processes of their own."""

import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pytest

from support.clusters import RUN, Cluster, contents, light_run, running_cluster, shards_in, wait_until
from support.command import SAMPLES, Run
from support.signalled import start_command
from tfdump.errors import TfdumpError

if TYPE_CHECKING:
    from distributed import Client

pytest.importorskip("distributed")

SLOW = ("--preprocess", "code.py:slow")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running_cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def client(running: Cluster) -> Iterator["Client"]:
    from distributed import Client

    with Client(scheduler_file=str(running.file), set_as_default=False) as connected:
        yield connected


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return light_run(tmp_path)


def last_line(text: str) -> str:
    return text.splitlines()[-1]


def test_the_shards_are_those_of_one_process(running: Cluster, place: Path, tfdump_process: Run) -> None:
    """The workers are in another folder than the command."""
    one = tfdump_process(*RUN, "--shards", "one")
    done = tfdump_process(*RUN, "--shards", "d", "--scheduler", running.file)
    assert (one.returncode, done.returncode, done.stdout) == (0, 0, "d\n"), done.stderr
    assert done.stderr == "12 shards, 12 written now, none missing (next: tfdump merge d -o FILE)\n"
    assert contents(place / "d") == contents(place / "one")
    (place / "d" / shards_in(place / "d")[3]).unlink()
    address = json.loads(running.file.read_text())["address"]
    again = tfdump_process(*RUN, "--shards", "d", "--scheduler", address)
    assert again.stderr.startswith("12 shards, 1 written now, none missing")
    assert contents(place / "d") == contents(place / "one")


def test_the_functions_of_python_do_the_same(client: "Client", place: Path) -> None:
    import tfdump.cluster
    from tfdump.dump.shards.manifest import read_manifest

    def made(**options: Any) -> tfdump.cluster.ShardedRunResult:
        return tfdump.cluster.activations(client, "dense.onnx", "x.npy", shards="d", batch_size=5, **options)

    result = made(shard_examples=20, layers="*hidden*", stats="quantiles")
    assert (result.folder, result.shards, result.written) == (Path("d"), 3, 3)
    assert made(layers="*hidden*", stats="quantiles").written == 0
    manifest = read_manifest(place / "d")
    assert manifest.threads == 1
    assert {tensor.info.address for tensor in manifest.plan.tensors} == {
        "hidden", "hidden:op.MatMul", "hidden:op.BiasAdd",
    }  # fmt: skip
    with pytest.raises(TfdumpError, match=r"d has the shards of another run: reduction was not set, and is 'mean' now"):
        made(layers="*hidden*", stats="quantiles", reduce="mean")
    with pytest.raises(TfdumpError, match=r"d has the shards of another run: quantiles was True, and is False now"):
        made(layers="*hidden*", stats=True)


@pytest.mark.tensorflow
def test_gradients_are_those_of_one_run(client: "Client", place: Path, tfdump_forked: Run) -> None:
    from tfdump import cluster, merge

    model, x, y = (SAMPLES / name for name in ("wine_mlp.keras", "wine.npy", "wine_labels.npy"))
    made = cluster.gradients(
        client, model, x, y, shards="g", shard_examples=32, batch_size=16, wrt=("weights", "inputs"), threads=1
    )
    assert (made.shards, made.written) == (2, 2)
    merge("g", "merged.h5")
    once = tfdump_forked(
        *("gradients", model, x, "--targets", y, "--batch-size", 16, "--wrt", "weights", "--wrt", "inputs"),
        *("--threads", 1, "-o", "once.h5"),
    )
    assert once.returncode == 0, once.stderr
    with h5py.File("merged.h5") as merged, h5py.File("once.h5") as one:
        names: list[str] = []
        one["gradients"].visit(names.append)
        datasets = [name for name in names if isinstance(one["gradients"][name], h5py.Dataset)]
        assert len(datasets) >= 3
        assert all(np.array_equal(merged["gradients"][name], one["gradients"][name]) for name in datasets)
        assert merged["loss"][()] == one["loss"][()]
    with pytest.raises(TfdumpError, match="loss is an object of this process"):
        cluster.gradients(client, model, x, y, shards="g", loss=lambda true, made: true)
    with pytest.raises(TfdumpError, match="y array"):
        cluster.gradients(client, model, x, np.zeros(3), shards="g")
    with pytest.raises(TfdumpError, match="imports 3 is neither"):
        cluster.gradients(client, model, x, y, shards="g", imports=3)


def test_an_empty_path_is_refused(client: "Client", place: Path) -> None:
    import tfdump.cluster

    with pytest.raises(TfdumpError, match=r"shards is empty \(name a file or a folder\)"):
        tfdump.cluster.activations(client, "dense.onnx", "x.npy", shards="")
    assert not (place / "manifest.json").exists()


def test_arguments_that_workers_cannot_have(client: "Client", place: Path) -> None:
    import tfdump.cluster

    array, made = np.zeros((2, 6), "float32"), tfdump.cluster.activations
    for arguments, message in [
        ((client, "dense.onnx", array), "x array"),
        ((client, "dense.onnx", {"x": array}), "x\\['x'\\] array"),
        ((client, object(), "x.npy"), "model <object"),
        ((3, "dense.onnx", "x.npy"), "client is an int, and not a client of Dask"),
        ((client, "nowhere.onnx", "x.npy"), "nowhere.onnx"),
        ((client, "dense.onnx", "nowhere.npy"), "nowhere.npy"),
    ]:
        with pytest.raises(TfdumpError, match=message):
            made(*arguments, shards="d")
    with pytest.raises(TfdumpError, match="preprocess is a function in memory"):
        made(client, "dense.onnx", "x.npy", shards="d", preprocess=np.negative)
    assert not (place / "d").exists()


def test_what_is_wrong_is_named_with_the_worker(running: Cluster, place: Path, tfdump_process: Run) -> None:
    done = tfdump_process(*RUN, "--layer", "nowhere", "--shards", "d", "--scheduler", running.file)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith("Error: worker tcp://127.0.0.1:")
    assert f" on {socket.gethostname()}: no layer matches 'nowhere'" in done.stderr
    assert not (place / "d").exists()


def test_a_worker_with_other_files_than_the_run_was_planned_with(client: "Client", place: Path) -> None:
    """The file changes between the plan, which one worker has made, and the shards, which both make."""
    from support.onnx_files import dense
    from tfdump.workers.shards_on_workers import ShardsOnWorkers

    for number, (change, message) in enumerate(
        [
            (lambda: dense(place / "dense.onnx", opset=15), r"its model_sha256 is '\w+', and the run was planned with"),
            ((place / "x.npy").unlink, r"no such input file: \S+/x\.npy"),
        ]
    ):
        run = ShardsOnWorkers(client, job_of(place, f"d{number}"), print)
        manifest = run.plan(division())
        change()
        with pytest.raises(TfdumpError, match=rf"worker tcp://127\.0\.0\.1:\d+ on \S+: .*{message}"):
            run.make(manifest)


def job_of(place: Path, folder: str) -> Any:
    from tfdump.inputs.data_options import DataOptions
    from tfdump.model.loading.options import LoadingOptions
    from tfdump.run.activations.options import ActivationOptions
    from tfdump.run.options import RunOptions
    from tfdump.run.shards.job import ShardJob

    return ShardJob(
        kind="activations",
        model=LoadingOptions(place / "dense.onnx", threads=1),
        inputs=(str(place / "x.npy"),),
        data=replace(DataOptions(), preprocess=("code.py:slow",)),
        options=ActivationOptions(run=RunOptions(batch_size=5)),
        command="test",
        folder=place / folder,
    )


def division() -> Any:
    from tfdump.run.shards.ranges import Division

    return Division(shard_examples=5)


def test_no_scheduler_is_said_soon(place: Path, tfdump_process: Run) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        nobody = f"127.0.0.1:{taken.getsockname()[1]}"
        (place / "old.json").write_text(json.dumps({"address": f"tcp://{nobody}"}))
        begun = time.monotonic()
        for scheduler in (nobody, f"tcp://{nobody}", "old.json"):
            done = tfdump_process(*RUN, "--shards", "d", "--scheduler", scheduler)
            assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
            assert done.stderr.startswith(f"Error: no scheduler answers at tcp://{nobody}: ")
        assert time.monotonic() - begun < 30
    (place / "not.json").write_text("{}")
    for scheduler, message in [
        ("nowhere.json", "--scheduler nowhere.json: there is no such file"),
        ("not.json", "--scheduler not.json is not the file of a scheduler"),
        ("x.npy", "--scheduler x.npy is not the file of a scheduler"),
        (".", "--scheduler .: Is a directory (give the file of dask scheduler --scheduler-file, or an address"),
        ("", "--scheduler is empty (give the file of dask scheduler --scheduler-file, or an address such as tcp://"),
        ("http://localhost:1", "--scheduler http://localhost:1 is not the address of a scheduler (give the file"),
        ("inproc://1.2.3.4/5/6", "--scheduler inproc://1.2.3.4/5/6 is not the address of a scheduler (give the file"),
        (f"tls://{nobody}", f"tls://{nobody} needs certificates, and Dask's configuration here has none (set ca-file"),
    ]:
        done = tfdump_process(*RUN, "--shards", "d", "--scheduler", scheduler)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
        assert message in done.stderr
    assert not (place / "d").exists()


def test_certificates_that_cannot_be_read(place: Path, tfdump_process: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CA_FILE", "CLIENT__CERT"):
        monkeypatch.setenv(f"DASK_DISTRIBUTED__COMM__TLS__{name}", "no.pem")
    done = tfdump_process(*RUN, "--shards", "d", "--scheduler", "tls://127.0.0.1:1")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "those of Dask's configuration here cannot be read: No such file or directory" in done.stderr


def test_the_command_says_that_no_worker_is_left_and_goes_on_with_another(
    place: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with running_cluster(tmp_path_factory.mktemp("left"), 1) as cluster:
        process = start_command(*RUN, *SLOW, "--shards", "d", "--scheduler", cluster.file, cwd=place)
        wait_until(lambda: len(shards_in(place / "d")) >= 2 or process.poll() is not None)
        cluster.workers[0].kill()
        assert process.stderr is not None
        notes = [process.stderr.readline().decode()]
        if "no workers yet" in notes[0]:
            notes.append(process.stderr.readline().decode())
        assert notes[-1].startswith("Note: the scheduler tcp://127.0.0.1:")
        assert notes[-1].endswith(" has no workers left; waiting for another\n")
        cluster.start_worker()
        out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (0, b"d\n"), err
    assert err == b"12 shards, 12 written now, none missing (next: tfdump merge d -o FILE)\n"


def test_a_worker_that_dies_with_its_verdict_is_told_and_another_one_makes_it_again(
    place: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The scheduler has heard that a shard is made, and nobody has fetched the verdict yet."""
    from distributed import Client

    from tfdump.workers.shards_on_workers import ShardsOnWorkers

    notes: list[str] = []
    with (
        running_cluster(tmp_path_factory.mktemp("verdict"), 1) as cluster,
        Client(scheduler_file=str(cluster.file), set_as_default=False) as client,
    ):
        future = client.submit(len, "four")
        wait_until(future.done)
        cluster.workers[0].kill()
        run = ShardsOnWorkers(client, job_of(place, "d"), notes.append)
        with ThreadPoolExecutor(1) as pool:
            fetched = pool.submit(run._result, future)
            wait_until(lambda: bool(notes) or fetched.done())
            cluster.start_worker()
            assert fetched.result(timeout=60) == 4
    assert [note.partition(" has ")[2] for note in notes] == ["no workers left; waiting for another"]


def test_other_versions_are_named_with_the_worker(
    place: Path, tfdump_process: Run, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("other")
    (folder / "numpy-0.1.dist-info").mkdir()
    (folder / "numpy-0.1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: numpy\nVersion: 0.1\n")
    with running_cluster(folder, 1, PYTHONPATH=str(folder)) as other:
        done = tfdump_process(*RUN, "--shards", "d", "--scheduler", other.file)
    assert (done.returncode, done.stdout) == (2, "")
    assert last_line(done.stderr).startswith("Error: worker tcp://127.0.0.1:")
    assert f"has numpy 0.1, and {np.__version__} is here" in done.stderr


def test_a_scheduler_that_dies_ends_its_workers_and_the_command(
    place: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Before that, the command waits for the first worker, and says so."""
    with running_cluster(tmp_path_factory.mktemp("dying"), 0) as dying:
        process = start_command(*RUN, *SLOW, "--shards", "d", "--scheduler", dying.file, cwd=place)
        assert process.stderr is not None
        note = process.stderr.readline().decode()
        assert note.startswith("Note: the scheduler tcp://127.0.0.1:")
        assert note.endswith(" has no workers yet; waiting for the first one\n")
        dying.start_worker()
        wait_until(lambda: len(shards_in(place / "d")) >= 2 or process.poll() is not None)
        os.kill(dying.scheduler.pid, signal.SIGKILL)
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out) == (2, b"")
        count = len(shards_in(place / "d"))
        assert err.decode().startswith("Error: the scheduler ended; ")
        assert err.count(b"\n") == 1
        assert 2 <= count < 12
        assert dying.workers[0].wait(timeout=60) is not None


def test_ctrl_c_leaves_the_cluster_to_others(running: Cluster, client: "Client", place: Path) -> None:
    process = start_command(*RUN, *SLOW, "--shards", "d", "--scheduler", running.file, cwd=place)
    wait_until(lambda: len(shards_in(place / "d")) >= 2 or process.poll() is not None)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, b"")
    assert err.decode().startswith("Error: interrupted; ")
    assert len(client.nthreads()) == 2
    assert client.submit(pow, 2, 5).result() == 32
