"""Processes of Python that begin with TensorFlow imported: one imports it, and forks for each of the others.

To import TensorFlow takes two to three seconds of a core, and most tests of a command in a process of its own are not
about that. A forked process has the arguments, environment, working directory, open files, ignored signals, mode mask
and parent of the client that asks for it. The client passes on the signals that ask a process to end, and ends with its
status. These need a new process: what is about imports, limits, or terminals that send signals, and
variables that Python and the libraries read while they start. Forked processes share one seed of hashes.
"""

import contextlib
import fcntl
import gc
import importlib
import io
import json
import multiprocessing.process
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
text = [stream and (stream.encoding, stream.errors) for stream in (sys.stdin, sys.stdout, sys.stderr)]
request = {"words": words, "folder": os.getcwd(), "environment": dict(os.environ), "ignored": ignored, "text": text}
request |= {"parent": os.getppid(), "mask": os.umask(0), "files": []}
for number in map(int, os.listdir("/proc/self/fd")):
    try:
        request["files"] += [number] if os.get_inheritable(number) else []
    except OSError:  # the folder that was listed
        pass
os.chdir(folder)  # a path to a socket may be a hundred characters long
server = socket.socket(socket.AF_UNIX)
server.connect("socket")

def pass_on(number, _):
    try:
        server.send(bytes([number]))
    except OSError:  # it has ended
        pass

passed = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGXCPU} - set(ignored)
signal.pthread_sigmask(signal.SIG_BLOCK, passed)  # what comes from now on is for the process
data = json.dumps(request).encode()
socket.send_fds(server, [len(data).to_bytes(8, "big")], request["files"])
server.sendall(data)
for number in passed:
    signal.signal(number, pass_on)
signal.pthread_sigmask(signal.SIG_UNBLOCK, passed)
answer = server.recv(16)
if not answer:
    sys.exit("the process that forks has ended: " + open("stderr").read())
status = int(answer)
if status < 0:
    if -status in passed:
        signal.signal(-status, signal.SIG_DFL)
    os.kill(os.getpid(), -status)
os._exit(status)
"""
"""What stands for the process: it passes its files on, then signals, and waits."""


_NO_NUMBER_OF_A_CLIENT = 256
"""Files of clients have lower numbers."""


def forked_python() -> list[str]:
    """Return the words that stand for `python`, before `-m MODULE`, `-c CODE` or the path of a script."""
    return [sys.executable, "-P", "-s", "-S", "-c", CLIENT, str(_start()[0])]


def forked_interpreter() -> str:
    """Return the path of a program that stands for `python`, with the same words behind it."""
    folder = _start()[0]
    path = folder / "python"
    path.write_text(f"#!{sys.executable} -PsS\nimport sys\nsys.argv.insert(1, {str(folder)!r})\n{CLIENT}")
    path.chmod(0o700)
    return str(path)


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
    """Run what a client asks for in a child, pass on its signals and send the status; kill it if the client ends."""
    length, files, _, _ = socket.recv_fds(client, 8, 200)
    request = json.loads(client.recv(int.from_bytes(length, "big"), socket.MSG_WAITALL))
    child = os.fork()
    if child == 0:
        client.close()
        _become(request, files)
        _run(*request["words"])
        sys.exit()
    for file in files:
        os.close(file)
    ended = os.pidfd_open(child)
    while ended not in select.select([client, ended], [], [])[0]:
        os.kill(child, *(client.recv(1) or [signal.SIGKILL]))
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with contextlib.suppress(BrokenPipeError):
        client.send(str(status).encode())
    os._exit(0)


def _become(request: dict[str, Any], files: list[int]) -> None:
    """Take over what a new process would have from its parent."""
    moved = [fcntl.fcntl(file, fcntl.F_DUPFD, _NO_NUMBER_OF_A_CLIENT) for file in files]
    for file in files:
        os.close(file)
    for number in {0, 1, 2}.difference(request["files"]):
        os.close(number)
    for number, file in zip(request["files"], moved, strict=True):
        os.dup2(file, number)
        os.close(file)
    process, parent_of_this = os.getpid(), os.getppid
    os.getppid = lambda: request["parent"] if os.getpid() == process else parent_of_this()
    sys.stdin, sys.stdout, sys.stderr = (
        text and open(number, "w" if number else "r", 1 if number == 2 else -1, *text, closefd=False)  # noqa: SIM115
        for number, text in enumerate(request["text"])
    )
    os.chdir(request["folder"])
    multiprocessing.process.ORIGINAL_DIR = request["folder"]  # where processes that it starts look for its script
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
    if what == "-u":
        stream = open(1, "wb", 0, closefd=False)  # noqa: SIM115 - for as long as the process runs
        sys.stdout = io.TextIOWrapper(stream, sys.stdout.encoding, sys.stdout.errors, write_through=True)
        _run(*words)
    elif what == "-m":
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
