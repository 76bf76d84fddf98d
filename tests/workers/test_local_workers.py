"""`--workers`: the shards of one process, whatever happens to the workers, and nothing is left of them."""

import os
import re
import signal
import subprocess
import urllib.request
from pathlib import Path

import pytest

from support.clusters import RUN, children_of, contents, is_alive, light_run, shards_in, wait_until
from support.command import Ended, Run
from support.light_runs import run_apart, site_without
from support.signalled import start_command
from support.terminals import on_terminal

pytest.importorskip("distributed")

WORKER = "tfdump.workers.local_worker"
SLOW = ("--preprocess", "code.py:slow")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return light_run(tmp_path)


@pytest.fixture(scope="module")
def slow_shards(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The shards of the slow run, by one process without workers."""
    folder = light_run(tmp_path_factory.mktemp("one"))
    process = start_command(*RUN, *SLOW, "--shards", "d", cwd=folder, env={**os.environ, "TFDUMP_TEST_NAP": "0"})
    assert process.wait(60) == 0, process.communicate()
    return contents(folder / "d")


def begun(folder: Path, *options: str) -> subprocess.Popen[bytes]:
    """A run on two workers, of which two shards are there."""
    process = start_command(*RUN, *options, "--shards", "d", "--workers", "2", cwd=folder)
    wait_until(lambda: len(shards_in(folder / "d")) >= 2 or process.poll() is not None)
    return process


def ended(process: subprocess.Popen[bytes]) -> Ended:
    out, err = process.communicate(timeout=120)
    return Ended(process.returncode, out.decode(), err.decode())


def test_a_worker_that_is_killed_is_replaced_and_the_bytes_are_those_of_one_process(
    place: Path, slow_shards: dict[str, bytes]
) -> None:
    process = begun(place, *SLOW)
    workers = children_of(process.pid, WORKER)
    assert len(workers) == 2
    os.kill(workers[0], signal.SIGKILL)
    done = ended(process)
    assert (done.returncode, done.stdout) == (0, "d\n"), done.stderr
    killed, summary = done.stderr.splitlines()
    assert killed.endswith("ended (SIGKILL, perhaps because memory ran out) and is started again")
    assert summary == "12 shards, 12 written now, none missing (next: tfdump merge d -o FILE)"
    assert contents(place / "d") == slow_shards
    assert not any(map(is_alive, workers))


@pytest.mark.parametrize(("number", "word"), [(signal.SIGINT, "interrupted"), (signal.SIGTERM, "ended by SIGTERM")])
def test_an_interrupted_run_leaves_whole_shards_and_no_process_and_goes_on(
    place: Path, slow_shards: dict[str, bytes], number: signal.Signals, word: str
) -> None:
    process = begun(place, *SLOW)
    workers = children_of(process.pid, WORKER)
    process.send_signal(number)
    done = ended(process)
    assert (done.returncode, done.stdout) == (128 + number, "")
    count = len(shards_in(place / "d"))
    assert 2 <= count < 12
    assert done.stderr == f"Error: {word}; {count} of 12 shards are in d (the same command makes the others)\n"
    assert not any(map(is_alive, workers))
    left = contents(place / "d")
    assert left.items() <= slow_shards.items()
    if number == signal.SIGINT:
        again = ended(start_command(*RUN, *SLOW, "--shards", "d", "--workers", "1", cwd=place))
        assert (again.returncode, again.stdout) == (0, "d\n")
        assert again.stderr.startswith(f"12 shards, {12 - count} written now")
        assert contents(place / "d") == slow_shards


def test_workers_end_with_a_command_that_is_killed(place: Path) -> None:
    process = begun(place, *SLOW)
    workers = children_of(process.pid, WORKER)
    process.kill()
    process.communicate()
    wait_until(lambda: not any(map(is_alive, workers)), seconds=10)
    assert len(workers) == 2


def test_a_shard_that_kills_its_workers_is_named_and_the_others_are_made(place: Path) -> None:
    words = [word if word != "x.npy" else "bad.npy" for word in RUN]
    command = (*words, "--shards", "d", "--workers", "2", "--preprocess", "code.py:deadly")
    done = ended(start_command(*command, cwd=place))
    assert (done.returncode, done.stdout) == (2, "")
    *notes, error = done.stderr.splitlines()
    assert len(notes) in (2, 3)  # the command may give the shard up before it starts the third worker again
    assert error == (
        "Error: shard-000000000025-000000000030.h5: it ended its workers, perhaps because memory ran out (lower "
        "--batch-size); 11 of 12 shards are in d (the same command makes the others)"
    )
    assert len(shards_in(place / "d")) == 11
    assert {path.suffix for path in (place / "d").iterdir()} <= {".h5", ".json", ""}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_workers_that_are_starting_end_without_a_word_and_leave_no_folder(place: Path, number: signal.Signals) -> None:
    """Ctrl-C reaches all processes of the terminal, and the workers import their libraries at that moment."""
    place.joinpath("tmp").mkdir()
    process = start_command(*RUN, "--shards", "d", "--workers", "2", cwd=place, start_new_session=True,
                            env={**os.environ, "TMPDIR": str(place / "tmp")})  # fmt: skip
    wait_until(lambda: len(children_of(process.pid, WORKER)) == 2)
    workers = children_of(process.pid, WORKER)
    if number == signal.SIGINT:
        os.killpg(process.pid, number)
    else:
        for pid in (*set(children_of(process.pid, "")) - set(workers), process.pid):
            os.kill(pid, number)
    _, err = process.communicate(timeout=60)
    assert err.decode() == ("Error: interrupted; no file was written\n" if number == signal.SIGINT else "")
    wait_until(lambda: not any(map(is_alive, workers)))
    assert list((place / "tmp").iterdir()) == []


def test_a_dry_run_has_the_shards_that_the_workers_would_make(place: Path, tfdump: Run) -> None:
    command = ("activations", "dense.onnx", "x.npy", "--batch-size", "1", "--shards", "d", "--workers", "3")
    done = tfdump(*command, "--dry-run")
    assert done.stdout.count("\nshard-") == 24, done.stderr


def test_a_dry_run_for_a_scheduler_says_that_its_workers_count(place: Path, tfdump: Run) -> None:
    command = ("activations", "dense.onnx", "x.npy", "--batch-size", "1", "--shards", "d", "--scheduler", "s.json")
    done = tfdump(*command, "--dry-run")
    assert (done.returncode, done.stdout.count("\nshard-")) == (0, 16)
    assert done.stderr == (
        "Note: the number of shards depends on the workers that the scheduler has (set it with --shard-examples)\n"
    )
    again = tfdump(*command, "--shard-examples", "30", "--dry-run")
    assert (again.returncode, again.stdout.count("\nshard-"), again.stderr) == (0, 2, "")


def test_the_shell_completes_the_file_of_a_scheduler() -> None:
    from click.shell_completion import BashComplete

    from tfdump.cli.main import cli

    items = BashComplete(cli, {}, "tfdump", "_TFDUMP_COMPLETE").get_completions(["activations", "--scheduler"], "s")
    assert [item.type for item in items] == ["file"]


def test_a_shard_with_bad_data_is_named_and_the_others_are_made(place: Path, tfdump_process: Run) -> None:
    words = [word if word != "x.npy" else "bad.npy" for word in RUN]
    done = tfdump_process(*words, "--shards", "d", "--workers", "1", "--preprocess", "code.py:failing")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "shard-000000000025-000000000030.h5: " in done.stderr
    assert "ValueError: above 1000; 11 of 12 shards are in d" in done.stderr
    assert len(shards_in(place / "d")) == 11


def test_the_progress_over_all_shards_is_on_the_terminal_and_goes_away(place: Path) -> None:
    screen = on_terminal(*RUN, *SLOW, "--shards", "d", "--workers", "2", cwd=place)
    assert screen.returncode == 0
    assert screen.lines == ["12 shards, 12 written now, none missing (next: tfdump merge d -o FILE)", "d"]
    assert "Starting 2 workers" in screen.plain
    assert "Planning the run of dense.onnx" in screen.plain
    assert len(set(re.findall(r"\d+/60", screen.plain))) >= 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--workers", "2"), "--workers needs the folder of the shards (add --shards DIR)"),
        (("--scheduler", "s.json"), "--scheduler needs the folder of the shards (add --shards DIR)"),
        (("--shards", "d", "--shard", "1/2", "--workers", "2"), "--shard and --workers exclude each other"),
        (("--shards", "d", "--shard", "1/2", "--scheduler", "s"), "--shard and --scheduler exclude each other"),
        (("--shards", "d", "--workers", "2", "--scheduler", "s"), "--workers and --scheduler exclude each other"),
        (("--shards", "d", "--workers", "0"), "--workers"),
        (("--shards", "", "--workers", "2"), "'--shards': it is empty (name a file or a folder)"),
        (("--shards", "d", "--workers", "2", "--training"), "--shards excludes --training"),
    ],
)
def test_options_that_exclude_each_other(place: Path, tfdump: Run, options: tuple[str, ...], message: str) -> None:
    done = tfdump("activations", "dense.onnx", "x.npy", *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert message in done.stderr


@pytest.mark.parametrize("package", ["distributed", "cryptography"])
def test_the_extra_is_named_where_it_is_missing(place: Path, package: str) -> None:
    site = site_without(place / "site", package)
    for option in (("--workers", "2"), ("--scheduler", "s.json")):
        done, _ = run_apart((*RUN, "--shards", "d", *option), place, site)
        assert done == Ended(2, "", "Error: workers need an extra: pip install 'tfdump[cluster]'")
    assert not (place / "d").exists()


def test_nobody_else_can_connect() -> None:
    """Every port is on the loopback interface, and needs the certificate of this run."""
    import psutil
    from distributed import Client, Security

    from tfdump.workers.local_cluster import local_cluster

    with local_cluster(1, 1, print, lambda: None) as (client, _):
        address = client.scheduler.address
        listening = [
            connection.laddr
            for process in (psutil.Process(), *psutil.Process().children(recursive=True))
            for connection in process.net_connections()
            if connection.status == psutil.CONN_LISTEN
        ]
        ports = {place.port for place in listening}
        assert len(listening) >= 4
        assert 8787 not in ports, "the port of Dask's pages"
        assert {place.ip for place in listening} == {"127.0.0.1"}
        for port in ports:
            with pytest.raises(OSError, match=r"404|SSL|reset|closed|respon|Bad"):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/info/main/workers.html", timeout=5)
        with pytest.raises(OSError, match=r"(?s)tls|TLS|SSL|certificate|Timed out|timed out"):
            Client(address, security=Security.temporary(), timeout=2, set_as_default=False)
        with pytest.raises((OSError, ValueError)):
            Client(address.replace("tls://", "tcp://"), timeout=2, set_as_default=False)
        assert client.submit(pow, 2, 5).result() == 32
