"""`tfdump check --verify`: compares the bytes of a dump with the checksums stored in it."""

from collections.abc import Sequence
from pathlib import Path

from tfdump.byte_sizes import show_bytes
from tfdump.cli.aligned_table import Column
from tfdump.cli.junit import Case, junit
from tfdump.cli.progress import notes, reading_bar
from tfdump.cli.render import json_list, table, write
from tfdump.cli.verbosity import Verbosity
from tfdump.dump.checksums import Verified
from tfdump.dump.reader import open_dump
from tfdump.process.stages import Meter

_COLUMNS = (
    Column("dataset", shorten="middle"),
    Column("bytes", 2),
    Column("stored", 0),
    Column("found", 1),
    Column("problem", shorten="wrap"),
)


def print_verification(dump: Path, layout: str, verbosity: Verbosity) -> bool:
    """Print one row per dataset that differs from its checksum; return whether there is none."""
    with open_dump(dump) as opened, reading_bar(verbosity, "verifying") as progress:
        results = []
        meter = Meter(opened.file_bytes, progress)
        for item in opened.verify():
            results.append(item)
            meter.add(item.bytes)
    wrong = [item for item in results if item.problem is not None]
    write(_render(dump, results, wrong, layout))
    read = show_bytes(sum(item.bytes for item in results))
    problems = f"{len(wrong) or 'no'} problem{'' if len(wrong) == 1 else 's'}"
    notes(verbosity)(f"verified {len(results)} checksums over {read}: {problems}")
    return not wrong


def _render(dump: Path, results: Sequence[Verified], wrong: Sequence[Verified], layout: str) -> str:
    if layout == "json":
        items = [
            {
                "name": item.name,
                "bytes": item.bytes,
                "stored": item.stored,
                "found": item.computed,
                "problem": item.problem,
            }
            for item in wrong
        ]
        return json_list("verify", items, file=str(dump), failed=bool(wrong), verified=len(results))
    if layout == "junit":
        return junit(
            str(dump),
            [Case(item.name, "", "failure" if item.problem else None, item.problem or "") for item in results],
        )
    rows = [(item.name, item.bytes, _hex(item.stored), _hex(item.computed), item.problem) for item in wrong]
    return table(_COLUMNS, rows, aligned=layout == "table")


def _hex(crc: int | None) -> str | None:
    return None if crc is None else f"{crc:08x}"
