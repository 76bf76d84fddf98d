"""The documents of the project: their code blocks, and the commands in these."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from support.command import ROOT, SAMPLES

PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text()
    for path in sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), SAMPLES / "README.md"])
}
"""The text of every document by its path in the checkout."""

SHELL, CONSOLE, PYTHON = "sh", "console", "python"
"""The languages of blocks that are run."""

_BLOCK = re.compile(r"(?:^<!-- not run: (?P<reason>.+?) -->\n)?^```(?P<language>\S*)\n(?P<text>.*?)^```$", re.M | re.S)


@dataclass(frozen=True)
class Block:
    """A fenced block; `reason` says why it is not run, and is None for one that is."""

    language: str
    text: str
    reason: str | None


@dataclass(frozen=True)
class Line:
    """A command line, and the lines that the document shows below it as its output."""

    command: str
    shown: tuple[str, ...] = ()


def blocks_of(text: str) -> list[Block]:
    """Return the fenced blocks of a document in order."""
    return [Block(match["language"], match["text"], match["reason"]) for match in _BLOCK.finditer(text)]


def lines_of(block: Block) -> Iterator[Line]:
    """Yield the command lines of a block: in `console` those behind a prompt, in `sh` all, with their continuations."""
    if block.language == SHELL:
        texts = re.split(r"(^cat > \S+ <<'END'\n.*?^END\n)", block.text, flags=re.M | re.S)
        for text in texts:  # a file that the page shows is one command, as it stands
            lines = [text] if text.startswith("cat >") else re.sub(r"\\\n\s*", "", text).splitlines()
            yield from (Line(command) for command in lines if command.strip())
        return
    for part in re.split(r"^\$ ", block.text, flags=re.M)[1:]:
        command, *shown = part.splitlines()
        yield Line(command, tuple(shown))
