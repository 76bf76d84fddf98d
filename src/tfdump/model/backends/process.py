"""The process that runs a model, from the side of tfdump: started, asked, and always ended."""

import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from tfdump.errors import ModelError, TfdumpError, UntrustedModelError
from tfdump.model.backends import start
from tfdump.model.backends.options import Backend
from tfdump.model.backends.wire import BrokenMessage, PipeMessage, read_message, write_message
from tfdump.process.machine import thread_limit
from tfdump.process.signals import waiting
from tfdump.tensors import Array

_TFDUMP = Path(start.__file__).parents[2]
_LOOK_EVERY = 0.2
_FIRST_WORD_WITHIN = 60.0
"""Seconds that an interpreter may take to start; it imports nothing heavy before its first word."""

_ENDS_WITHIN = 5.0

_MOST_WORDS = 1 << 16
"""Bytes at the end of what the libraries write to stderr that are kept for a failure."""


_PIPE_BYTES = 1 << 20

_THREADS = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS", "NPROC")
"""The environment variables that tell TensorFlow, PyTorch and JAX how many threads to use."""


class BackendError(Exception):
    """The error of the other process, with its traceback as the message; it stands behind the one line."""


class UnexplainedError(ModelError):
    """An error of Keras or of a user's code in the other process; `classes` names its class and its bases."""

    def __init__(self, text: str, classes: list[str]) -> None:
        super().__init__(text)
        self.classes = classes


class BackendProcess:
    """A process with a backend of Keras. `ask` sends a request and returns the answer; `close` ends it.

    It ends with this object and with this process, whatever happens to them.
    """

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        if not hasattr(os, "fork"):
            raise ModelError(f"{backend.in_words} needs Linux or macOS (leave it out)")
        python = _interpreter(backend)
        environment = os.environ | {"KERAS_BACKEND": backend.name}
        if not backend.verbose:
            environment.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        if (limit := thread_limit()) is not None:
            environment |= dict.fromkeys(_THREADS, str(limit))
        words = os.dup(2)
        try:
            command = [python, "-u", start.__file__, str(_TFDUMP), str(words), str(os.getpid())]
            self._process = subprocess.Popen(
                command,
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=None if backend.verbose else subprocess.PIPE,
                pass_fds=(words,),
                env=environment,
            )
        except OSError as cause:
            raise ModelError(
                f"cannot run --backend-python {python}: {cause.strerror} (name a Python interpreter)"
            ) from cause
        finally:
            os.close(words)
        self._end = weakref.finalize(self, _end, self._process)
        self._words = _LastWords(self._process.stderr) if self._process.stderr is not None else None
        _prepare(self._process)
        self._greet()

    def _greet(self) -> None:
        """Wait for the first word; anything that is no Python interpreter says another one, or none."""
        greeting = None
        with self._ended_by_errors(), contextlib.suppress(BrokenMessage, ValueError, KeyError):
            greeting = self._read(_FIRST_WORD_WITHIN)
        if greeting is None or greeting.fields.get("hello") != "tfdump":
            self._end()
            last_line = self._words.last_line if self._words is not None else ""
            raise ModelError(
                f"{self.python} cannot run a model: {last_line or 'it does not answer as a Python interpreter'} "
                "(name a Python interpreter: --backend-python PATH)"
            )

    @property
    def python(self) -> str:
        """The interpreter."""
        return str(self._process.args[0])  # type: ignore[index]  # a list, as it was passed

    def send(self, request: str, arrays: Sequence[Array] = (), **fields: Any) -> None:
        """Send a request, whose answer `receive` returns."""
        with self._ended_by_errors():
            try:
                write_message(self._write, {"request": request, **fields}, arrays)
            except BrokenPipeError:
                raise self._died() from None

    def receive(self) -> PipeMessage:
        """Wait for the answer to a request; raises ModelError for an error, and where the process has ended."""
        with self._ended_by_errors():
            try:
                answer = self._read()
            except (BrokenMessage, ValueError, KeyError) as cause:
                raise ModelError(f"the process of {self.backend.in_words} does not keep to the protocol") from cause
            if answer is None:
                raise self._died()
        error = answer.fields.get("error")
        if error is not None:
            raise _error(answer.fields) from BackendError(answer.fields["trace"])
        return answer

    def ask(self, request: str, arrays: Sequence[Array] = (), **fields: Any) -> PipeMessage:
        """Send a request and return the answer."""
        self.send(request, arrays, **fields)
        return self.receive()

    @contextlib.contextmanager
    def _ended_by_errors(self) -> Iterator[None]:
        """End the process where the body is left by an exception: what is under way could not be told apart."""
        try:
            yield
        except BaseException:
            self.close()
            raise

    def _write(self, view: memoryview) -> None:
        stream = self._process.stdin
        assert stream is not None, "it was asked for"
        while view:
            self._wait([], [stream])
            view = view[os.write(stream.fileno(), view) :]

    def _read(self, seconds: float | None = None) -> PipeMessage | None:
        """Read a message; None where the process ends, or begins none within these seconds."""
        stream = self._process.stdout
        assert stream is not None, "it was asked for"

        def read_into(view: memoryview) -> bool:
            done = 0
            while done < len(view):
                count = os.readv(stream.fileno(), [view[done:]]) if self._wait([stream], [], seconds) else 0
                if count == 0:
                    return False
                done += count
            return True

        return read_message(read_into)

    def _wait(self, readable: list[Any], writable: list[Any], seconds: float | None = None) -> bool:
        """Wait until a stream is ready; raises what a signal asks for. Returns False after these seconds."""
        waited = 0.0
        while not any(select.select(readable, writable, [], _LOOK_EVERY)):
            if (interruption := waiting()) is not None:
                raise interruption
            waited += _LOOK_EVERY
            if seconds is not None and waited > seconds:
                return False
        return True

    def _died(self) -> ModelError:
        """Return the error for a process that ended by itself, and show what it wrote."""
        try:
            status = self._process.wait(_ENDS_WITHIN)
        except subprocess.TimeoutExpired:  # it has only closed its end of the pipe
            self._process.kill()
            status = self._process.wait()
        if self._words is not None:
            sys.stderr.write(self._words.text)
        how = f"with exit status {status}"
        if status < 0:
            name = signal.Signals(-status).name
            memory = ", perhaps because memory ran out (lower --batch-size or --memory)"
            how = f"by {name}{memory if name == 'SIGKILL' else ''}"
        return ModelError(f"the process that runs the model on {self.backend.name} ended {how}")

    @property
    def runs(self) -> bool:
        """Whether the process still runs."""
        return self._end.alive

    def close(self) -> None:
        """End the process; a second time does nothing."""
        self._end()


class _LastWords:
    """The end of what a process writes to stderr, read by a thread so that the process never waits for a reader."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._tail = bytearray()
        self._thread = threading.Thread(target=self._read, args=(stream,), daemon=True)
        self._thread.start()

    def _read(self, stream: IO[bytes]) -> None:
        with stream, contextlib.suppress(ValueError):
            while words := stream.read(_MOST_WORDS):
                self._tail += words
                del self._tail[:-_MOST_WORDS]

    @property
    def text(self) -> str:
        """All that was kept, after the process has ended."""
        self._thread.join(1.0)  # a grandchild may hold the pipe open
        return self._tail.decode(errors="replace")

    @property
    def last_line(self) -> str:
        """The last line that is not empty."""
        return next((line.strip() for line in reversed(self.text.splitlines()) if line.strip()), "")


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Kill a process, and wait until it is gone."""
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()


def _error(fields: dict[str, Any]) -> ModelError:
    text, classes = str(fields["error"]), list(fields["classes"])
    if UntrustedModelError.__name__ in classes:
        return UntrustedModelError(text)
    return ModelError(text) if TfdumpError.__name__ in classes else UnexplainedError(text, classes)


def _prepare(process: "subprocess.Popen[bytes]") -> None:
    """Let a write end when the pipe is full, and a pipe hold more than its default where the system allows that."""
    import fcntl

    assert process.stdin is not None, "it was asked for"
    os.set_blocking(process.stdin.fileno(), False)
    for stream in (process.stdin, process.stdout):
        if stream is not None and hasattr(fcntl, "F_SETPIPE_SZ"):
            with contextlib.suppress(OSError):
                fcntl.fcntl(stream.fileno(), fcntl.F_SETPIPE_SZ, _PIPE_BYTES)


def _interpreter(backend: Backend) -> str:
    """Return the path of the interpreter, as it was named; raises ModelError where there is none."""
    if backend.python is None:
        return sys.executable
    path = Path(backend.python)
    if path.is_dir():
        raise ModelError(
            f"--backend-python {path} is a folder (name the interpreter in it, such as {path / 'bin' / 'python'})"
        )
    place = shutil.which(backend.python)
    if place is None:
        reason = "is not executable" if path.exists() else "does not exist"
        raise ModelError(f"--backend-python {path} {reason} (name a Python interpreter, such as venv/bin/python)")
    return place
