"""The loop of the program: it reads requests from standard input, and writes an answer to each."""

import os
import signal
import traceback
from collections.abc import Callable
from typing import Any

from tfdump.errors import ModelError, reason_of
from tfdump.model.backends.wire import PipeMessage, read_message, write_message
from tfdump.tensors import Array

Answer = tuple[dict[str, Any], list[Array]]

_GONE = 1
"""The exit status where tfdump closed its end of a pipe."""


def serve(words: int) -> None:
    """Answer requests until the stream ends; what the model prints goes to the file descriptor `words`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches tfdump too, which ends this process
    requests, answers = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(words, 1)

    def read_into(view: memoryview) -> bool:
        done = 0
        while done < len(view):
            count = os.readv(requests, [view[done:]])
            if count == 0:
                return False
            done += count
        return True

    def write(view: memoryview) -> None:
        try:
            while view:
                view = view[os.write(answers, view) :]
        except BrokenPipeError:
            os._exit(_GONE)

    write_message(write, {"hello": "tfdump"})
    program = Program()
    while (request := read_message(read_into)) is not None:
        write_message(write, *program.answer(request))
    os._exit(0)  # without the farewells of libraries, which may hang


class Program:
    """What the process holds between requests: nothing at first, then Keras, and then a model."""

    def __init__(self) -> None:
        self._model: Any = None
        self._requests: dict[str, Callable[[PipeMessage], Answer]] = {
            "start": self._start,
            "load": self._load,
            "signature": lambda message: (self._model.signature(message.fields["names"]), []),
            "reset": self._reset,
            "run": lambda message: (self._model.run(message.fields, message.arrays), []),
            "fetch": lambda message: self._model.fetch(message.fields["places"]),
        }

    def answer(self, message: PipeMessage) -> Answer:
        """Return what a request asks for, or an error."""
        try:
            return self._requests[message.fields["request"]](message)
        except MemoryError:
            return _failure(ModelError("out of memory (lower --batch-size or --memory)"))
        except (Exception, SystemExit) as error:  # the code of users may raise anything
            return _failure(error)

    def _start(self, message: PipeMessage) -> Answer:
        from tfdump.model.backends.program.environment import start_keras

        return start_keras(message.fields["backend"], message.fields["seed"]), []

    def _load(self, message: PipeMessage) -> Answer:
        from tfdump.model.backends.program.loading import load_keras_model
        from tfdump.model.backends.program.running import RunningModel

        self._model = RunningModel(load_keras_model(message.fields), message.fields["seed"])
        return self._model.description(), []

    def _reset(self, message: PipeMessage) -> Answer:
        self._model.start()
        return {}, []


def _failure(error: BaseException) -> Answer:
    """Return an error as an answer: its message, the names of its class and of the bases of that, and its traceback."""
    classes = [base.__name__ for base in type(error).__mro__]
    return {"error": str(error) or reason_of(error), "classes": classes, "trace": traceback.format_exc()}, []
