"""How much memory there is: of the machine, of the container, or unknown."""

import os
import re
import sys
from pathlib import Path

import pytest

from tfdump.process import machine
from tfdump.process.machine import cached_bytes, memory_bytes, open_files


def test_the_memory_is_that_of_the_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(machine, "_CONTAINER", tmp_path / "none")
    meminfo = Path("/proc/meminfo")
    if not meminfo.exists():
        pytest.skip("only Linux tells its memory in another way")
    total = int(re.search(r"MemTotal:\s+(\d+)", meminfo.read_text())[1]) << 10
    assert total <= memory_bytes() < 1.1 * total


@pytest.mark.parametrize(("limit", "expected"), [("1048576\n", 1 << 20), ("max\n", None), ("", None)])
def test_a_container_may_have_less(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, limit: str, expected: int | None
) -> None:
    monkeypatch.setattr(machine, "_CONTAINER", tmp_path / "none")
    alone = memory_bytes()
    (tmp_path / "max").write_text(limit)
    monkeypatch.setattr(machine, "_CONTAINER", tmp_path / "max")
    assert memory_bytes() == (expected or alone)


def test_a_system_that_does_not_tell_has_sixteen_gibibytes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(machine, "_CONTAINER", tmp_path / "none")
    monkeypatch.setattr(os, "sysconf", lambda name: -1)
    assert memory_bytes() == 16 << 30
    monkeypatch.delattr(os, "sysconf")
    assert memory_bytes() == 16 << 30
    assert cached_bytes() == 1 << 30


def test_a_sixteenth_of_much_memory_is_left_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "memory_bytes", lambda: 64 << 30)
    assert cached_bytes() == 4 << 30


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_the_open_files_are_those_that_the_system_allows() -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, hard))
    try:
        assert open_files() == 200
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
