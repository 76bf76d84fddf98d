"""C headers: a program that includes all of them finds every value that NumPy has."""

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from support.command import Run
from support.dumps import ARRAYS, DEEP, RAGGED, SPLITS, TEXTS, describe, empty_dump, write_dump

CC = shutil.which("cc")

PROGRAM = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
%s

static int failures = 0;

static void check(const char *name, const void *values, size_t count, size_t size, int is_float) {
    char path[256];
    unsigned char *there = malloc(count * size + 1);
    snprintf(path, sizeof path, "%%s.raw", name);
    FILE *file = fopen(path, "rb");
    size_t got = fread(there, 1, count * size + 1, file);
    fclose(file);
    for (size_t n = 0; n < count; n++) {
        const unsigned char *a = (const unsigned char *)values + n * size, *b = there + n * size;
        int same = memcmp(a, b, size) == 0;
        if (!same && is_float)
            same = size == 4 ? *(float *)a != *(float *)a && *(float *)b != *(float *)b
                             : *(double *)a != *(double *)a && *(double *)b != *(double *)b;
        if (!same) { printf("%%s: element %%zu differs\n", name, n); failures++; }
    }
    if (got != count * size) { printf("%%s: %%zu bytes, expected %%zu\n", name, got, count * size); failures++; }
    free(there);
}

int main(void) {
%s
    printf("%%d failures\n", failures);
    return failures != 0;
}
"""


def compiled(folder: Path, headers: list[str], lines: list[str]) -> subprocess.CompletedProcess:
    includes = "\n".join(f'#include "{header}"' for header in headers)
    (folder / "p.c").write_text(PROGRAM % (includes, "\n".join(lines)))
    warnings = ["-std=c99", "-Wall", "-Wextra", "-Wno-unused-variable", "-Wno-unused-const-variable", "-Werror"]
    subprocess.run([CC, *warnings, "p.c", "-o", "p"], cwd=folder, check=True)
    return subprocess.run(["./p"], cwd=folder, capture_output=True, text=True)


@pytest.mark.skipif(CC is None, reason="no C compiler (cc) on this machine")
def test_a_program_finds_every_value(tfdump: Run, tmp_path: Path) -> None:
    """All headers of a dump together in one program, compared byte by byte with what NumPy holds."""
    write_dump(tmp_path / "d.h5")
    assert tfdump("cat", "d.h5", "--all", "--format", "c", "-o", "c").returncode == 0
    expected = {f"activations_{name.replace('.', '_')}": values for name, values in ARRAYS.items()}
    expected["activations_Dense_2"] = expected.pop("activations_Dense")  # differs from 'dense' in capitals only
    expected["activations_half"] = ARRAYS["half"].astype("f4")
    expected["activations_complex"] = ARRAYS["complex"].view("f4").reshape(-1, 2)
    expected["outputs_dense"] = ARRAYS["dense"] + 1
    expected["activations_ragged__values"] = RAGGED
    expected["activations_ragged__row_splits"] = SPLITS
    expected["activations_deep__row_splits_1"] = DEEP[2]
    lines = []
    for name, values in expected.items():
        (tmp_path / f"{name}.raw").write_bytes(values.tobytes())
        macro, is_float = name.upper(), int(values.dtype.kind == "f")
        lines.append(f'check("{name}", {name}, {macro}_SIZE, sizeof {name}[0], {is_float});')
        for axis, size in enumerate(values.shape):
            lines.append(f'if ({macro}_DIM{axis} != {size}) {{ printf("{name}: axis {axis}\\n"); failures++; }}')
        lines.append(f'if ({macro}_RANK != {values.ndim}) {{ printf("{name}: rank\\n"); failures++; }}')
    for number, text in enumerate(TEXTS):
        (tmp_path / f"text{number}.raw").write_bytes(text.encode())
        lines.append(f'check("text{number}", activations_text[{number}], strlen(activations_text[{number}]), 1, 0);')
    headers = ["c/index.h"]  # which includes the others
    done = compiled(tmp_path, headers, lines)
    assert (done.returncode, done.stdout) == (0, "0 failures\n")
    (tmp_path / "activations_dense.raw").write_bytes((ARRAYS["dense"] + 1e-6).tobytes())
    assert "activations_dense: element" in compiled(tmp_path, headers, lines).stdout


def test_the_comment_says_where_the_values_come_from(tfdump: Run, tmp_path: Path) -> None:
    """And cannot end early, whatever stands in the file."""
    write_dump(tmp_path / "d.h5")
    header = tfdump("cat", "d.h5", "brain", "--format", "c", "--slice", "1:").stdout
    comment, _, code = header.partition("*/\n")
    assert "activations/brain, slice 1:: bfloat16, shape (2,)" in comment
    assert "command: tfdump activations 'm* /.keras'" in comment
    assert "static const float activations_brain[ACTIVATIONS_BRAIN_SIZE] = {\n    3.140625f, -INFINITY,\n};" in code
    assert re.search(r"#ifndef (TFDUMP_ACTIVATIONS_BRAIN_H)\n#define \1\n", code)


def test_names_of_c_and_of_its_library_are_no_trouble(tfdump: Run, tmp_path: Path) -> None:
    """Keras calls nodes of a graph by names such as log."""
    names = ["log", "int", "9", "_", "é", "a-b", "a_b", "INFINITY", "main", "x" * 300]
    with empty_dump(tmp_path / "d.h5") as file:
        for number, name in enumerate(names):
            describe(file["activations"].create_dataset(name, data=np.int32(number)), "int32")
    assert tfdump("cat", "d.h5", "--all", "--format", "c", "-o", "c").returncode == 0
    files = dict(line.split("\t")[1::-1] for line in (tmp_path / "c" / "index.tsv").read_text().splitlines()[1:])
    lines = []
    for number, name in enumerate(names):
        (identifier,) = re.findall(r"int32_t (\w+)\[", (tmp_path / "c" / files[f"activations/{name}"]).read_text())
        lines.append(f"if ({identifier}[0] != {number}) failures++;")
    if CC is None:
        pytest.skip("no C compiler (cc) on this machine")
    lines.append("(void)check;")
    assert compiled(tmp_path, [f"c/{path}" for path in files.values()], lines).stdout == "0 failures\n"


def test_what_c_has_no_type_for_is_refused(tfdump: Run, tmp_path: Path) -> None:
    with empty_dump(tmp_path / "d.h5") as file:
        describe(file["activations"].create_dataset("x", data=np.array([b"ab"], "V2")), "void")
    done = tfdump("cat", "d.h5", "x", "--format", "c", "-o", "x.h")
    assert (done.returncode, done.stdout) == (2, "")
    assert "'x' is stored as |V2, for which C has no type" in done.stderr
    assert "which a .npy file cannot hold without pickle" in tfdump("cat", "d.h5", "x", "-o", "x.npy").stderr
    assert [path.name for path in tmp_path.iterdir()] == ["d.h5"]
