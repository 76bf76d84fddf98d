"""Tens of damaged files of every kind through the commands that read them; `make fuzz` has thousands."""

import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from support import mutations
from support.command import ROOT
from support.dumps import write_dump

FUZZ = ROOT / "tests" / "fuzz.py"
READ = ["dump.h5", "gradients.h5", "verified.h5", "array.npy", "arrays.npz", "arrays.h5"]
RUN = ["input.npy", "input.npz", "input.h5", "model.keras", "model.h5", "model.tflite", "model.onnx"]


def fuzzed(kinds: list[str], most: int, keep: Path) -> int:
    """Fuzz; return how many mutations there were."""
    done = subprocess.run(
        [sys.executable, FUZZ, *kinds, "--mutations", str(most), "--keep", keep, "--workers", "1"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    *_, last = done.stdout.splitlines()
    assert last.endswith(" mutations, 0 failed")
    return int(last.split()[0])


def test_tens_of_damaged_dumps_and_arrays(tmp_path: Path) -> None:
    assert fuzzed(READ, 100, tmp_path / "kept") > 70


@pytest.mark.tensorflow
def test_tens_of_damaged_models_and_inputs(tmp_path: Path) -> None:
    assert fuzzed(RUN, 100, tmp_path / "kept") > 12


def test_a_mutation_is_the_same_for_the_same_dice(tmp_path: Path) -> None:
    """And another one for others; the file itself is damaged by nearly all of them."""
    data = write_dump(tmp_path / "d.h5").read_bytes()
    first, again = ([mutated(data, number) for number in range(60)] for _ in range(2))
    assert first == again
    assert len(set(first)) > 55
    assert first.count(data) < 6


def mutated(data: bytes, number: int) -> bytes:
    return mutations.mutated(data, number, random.Random(number), mutations.BYTES)


def test_truncations_come_at_every_kilobyte(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros(1000))
    data = (tmp_path / "x.npy").read_bytes()
    sizes = {len(mutated(data, number)) for number in range(0, 4 * 8, 4)}
    assert sizes == {0, 1024, 2048, 3072, 4096, 5120, 6144, 7168}


def test_the_fuzzer_sees_what_it_looks_for() -> None:
    """A judge that lets everything pass would be no judge."""
    from fuzz import judged

    assert judged(0, "") is None
    assert judged(1, "Note: some\na.h5 and b.h5 differ: 1 of 2 tensors differs\n") is None
    assert judged(2, "Error: x.h5 is damaged\n") is None
    for status, words in (
        (2, "Traceback (most recent call last):\nError: x\n"),
        (2, "Error: unexpected KeyError: 'min' (a bug in tfdump; please report it with the output of -v)\n"),
        (2, ""),
        (2, "Error: one\nError: two\n"),
        (0, "Error: x\n"),
        (0, "x.py:1: RuntimeWarning: overflow\n"),
        (3, ""),
        ("raised", ""),
    ):
        assert judged(status, words) is not None
