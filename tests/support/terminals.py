"""Commands on a terminal of a set size, and what stands on it in the end."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.cells import cell_len

from support.forked import forked_python

CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@dataclass(frozen=True)
class Screen:
    """How a command ended, and what it wrote to the terminal and, where they were not on it, to stdout and stderr."""

    returncode: int
    written: str
    stdout: str = ""
    stderr: str = ""

    @property
    def plain(self) -> str:
        """What was written, without escape codes."""
        return CODES.sub("", self.written)

    @property
    def lines(self) -> list[str]:
        """The lines that stay, as a terminal shows them that knows how to go up and to clear a line."""
        rows, row, column = [""], 0, 0
        for token in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|[\n\r]|[^\x1b\n\r]+", self.written):
            if token == "\n":
                row, column = row + 1, 0
                rows += [""] * (row == len(rows))
            elif token == "\r":
                column = 0
            elif token == "\x1b[1A":
                row -= 1
            elif token == "\x1b[2K":
                rows[row] = ""
            elif token[0] != "\x1b":
                rows[row] = rows[row][:column] + token + rows[row][column + len(token) :]
                column += len(token)
        while rows and not rows[-1]:
            rows.pop()
        return rows

    def widest(self) -> int:
        """The columns of the longest line, East Asian characters counted as Rich counts them."""
        return max(map(cell_len, self.lines), default=0)


def on_terminal(
    *arguments: object,
    cwd: Path,
    columns: int = 80,
    term: str | None = "xterm-256color",
    stdout: bool = True,
    stderr: bool = True,
    **environment: str,
) -> Screen:
    """Run `tfdump ARGS...` in a process whose stdin, and stdout and stderr unless told otherwise, are a terminal."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    rows = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "TERM", "NO_COLOR")}
    process: Any = subprocess.Popen(
        [*forked_python(), "-m", "tfdump", *map(str, arguments)],
        cwd=cwd,
        stdin=follower,
        stdout=follower if stdout else subprocess.PIPE,
        stderr=follower if stderr else subprocess.PIPE,
        env={**rows, **({} if term is None else {"TERM": term}), **environment},
    )
    os.close(follower)
    written = b""
    while True:
        try:
            block = os.read(leader, 65536)
        except OSError:
            break
        if not block:
            break
        written += block
    os.close(leader)
    rest = [(stream.read() if stream else b"").decode() for stream in (process.stdout, process.stderr)]
    return Screen(process.wait(), written.decode().replace("\r\n", "\n"), *rest)
