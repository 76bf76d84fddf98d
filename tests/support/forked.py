"""Processes of Python that begin with TensorFlow imported: one imports it, and forks for each of the others.

To import TensorFlow takes two to three seconds of a core, and most tests of a command in a process of its own are not
about that. A forked process has the arguments, environment, working directory, standard streams, ignored signals and
mode mask of the client that asks for it, and the client ends with its status. These need a new process: what is about
imports, limits, closed streams, or signals that are sent to the process, and variables that Python and the libraries
read while they start. Forked processes share one seed of hashes.
"""

import contextlib
import gc
import importlib
import json
import os
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

CLIENT = """
import json, os, signal, socket, sys
folder, *words = sys.argv[1:]
ignored = [number for number in signal.valid_signals() if signal.getsignal(number) is signal.SIG_IGN]
text = [(stream.encoding, stream.errors) for stream in (sys.stdin, sys.stdout, sys.stderr)]
request = {"words": words, "folder": os.getcwd(), "environment": dict(os.environ), "ignored": ignored, "text": text}
request["mask"] = os.umask(0)
os.chdir(folder)  # a path to a socket may be a hundred characters long
with socket.socket(socket.AF_UNIX) as server:
    server.connect("socket")
    socket.send_fds(server, [b"x"], [0, 1, 2])
    server.sendall(json.dumps(request).encode() + b"\\n")
    answer = server.recv(16)
if not answer:
    sys.exit("the process that forks has ended: " + open("stderr").read())
status = int(answer)
if status < 0:
    os.kill(os.getpid(), -status)
os._exit(status)
"""
"""What stands for the process: it passes its streams on and waits."""


def forked_python() -> list[str]:
    """Return the words that stand for `python`, before `-m MODULE`, `-c CODE` or the path of a script."""
    return [sys.executable, "-P", "-s", "-S", "-c", CLIENT, str(_start()[0])]


@cache
def _start() -> tuple[Path, subprocess.Popen[bytes]]:
    """Start the process that forks, which ends with this one; return the folder of its socket, and the process."""
    folder = Path(tempfile.mkdtemp(prefix="tfdump-"))  # open to this user only
    with socket.socket(socket.AF_UNIX) as listener, (folder / "stderr").open("w") as errors:
        place = os.open(folder, os.O_RDONLY)
        listener.bind(f"/proc/self/fd/{place}/socket")
        os.close(place)
        listener.listen(64)
        process = subprocess.Popen(
            [sys.executable, "-P", __file__, str(folder), str(listener.fileno())],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            pass_fds=[listener.fileno()],
            start_new_session=True,
        )
    return folder, process


def _serve(folder: str, listener: socket.socket) -> None:
    """Import TensorFlow and tfdump, and fork for each client until the process that started this one ends."""
    gc.disable()
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    for module in ("keras", "tensorflow", "h5py", "tfdump.cli.main", "tfdump.run.pipeline", "tfdump.model.loading"):
        with contextlib.suppress(ImportError):  # tests that need no TensorFlow run without it
            importlib.import_module(module)
    gc.freeze()
    gc.enable()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that serve
    while listener in select.select([listener, sys.stdin], [], [])[0]:
        client = listener.accept()[0]
        if os.fork() == 0:
            listener.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _serve_one(client)
        client.close()
    shutil.rmtree(folder)


def _serve_one(client: socket.socket) -> NoReturn:
    """Run what a client asks for in a child, and send its status; kill it if the client ends first."""
    _, streams, _, _ = socket.recv_fds(client, 1, 3)
    request = json.loads(client.makefile().readline())
    child = os.fork()
    if child == 0:
        client.close()
        _become(request, streams)
        _run(*request["words"])
        sys.exit()
    for stream in streams:
        os.close(stream)
    if client in select.select([client, os.pidfd_open(child)], [], [])[0]:
        os.kill(child, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with contextlib.suppress(BrokenPipeError):
        client.send(str(status).encode())
    os._exit(0)


def _become(request: dict[str, Any], streams: list[int]) -> None:
    """Take over what a new process would have from its parent."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    sys.stdin, sys.stdout, sys.stderr = (
        open(number, "w" if number else "r", 1 if number == 2 else -1, encoding, errors, closefd=False)  # noqa: SIM115
        for number, (encoding, errors) in enumerate(request["text"])
    )
    os.chdir(request["folder"])
    os.umask(request["mask"])
    os.environ.clear()
    os.environ.update(request["environment"])
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        with contextlib.suppress(OSError):
            signal.signal(number, signal.SIG_IGN if number in request["ignored"] else signal.SIG_DFL)
    if signal.SIGINT not in request["ignored"]:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _run(what: str, *words: str) -> None:
    """Run a module, code or a script as Python does with these arguments."""
    sys.argv = list(words)
    if what == "-m":
        sys.path.insert(0, os.getcwd())
        runpy.run_module(words[0], run_name="__main__", alter_sys=True)
    elif what == "-c":
        sys.path.insert(0, "")
        sys.argv[0] = what
        sys.modules["__main__"] = main = ModuleType("__main__")
        exec(compile(words[0], "<string>", "exec"), vars(main))
    else:
        sys.path.insert(0, str(Path(what).resolve().parent))
        sys.argv.insert(0, what)
        runpy.run_path(what, run_name="__main__")


if __name__ == "__main__":
    _serve(sys.argv[1], socket.socket(fileno=int(sys.argv[2])))
