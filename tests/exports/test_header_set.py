"""A folder of C headers: one header includes all, and its table leads a program to every array; quantized layers."""

import re
import shutil
import subprocess
from pathlib import Path

import h5py
import numpy as np
import pytest

from support.check_dumps import write_dump
from support.command import Run
from support.dumps import ARRAYS
from support.dumps import write_dump as write_every_kind

CC, CXX = shutil.which("cc"), shutil.which("c++")
STRICT = ["-Wall", "-Wextra", "-Werror", "-pedantic"]

pytestmark = pytest.mark.skipif(CC is None or CXX is None, reason="no C or C++ compiler on this machine")

TABLE = r"""
#include <stdio.h>
#include "c/index.h"

int main(void) {
    size_t n, axis;
    FILE *file = fopen("all.raw", "wb");
    for (n = 0; n < TFDUMP_ACTIVATIONS_COUNT; n++) {
        const tfdump_array *array = &tfdump_activations[n];
        while ((size_t)ftell(file) < array->offset) fputc(0, file);
        fwrite(array->values, 1, array->bytes, file);
        printf("%s\t%s\t%lu\t", array->name, array->type, (unsigned long)array->size);
        for (axis = 0; axis < array->rank; axis++) printf("%lu,", (unsigned long)array->shape[axis]);
        printf("\n");
    }
    printf("%ld %d\n", ftell(file), TFDUMP_ACTIVATIONS_BYTES);
    fclose(file);
    return 0;
}
"""

DENSE = r"""
#include <stdio.h>
#include "x.h"
#include "kernel.h"
#include "bias.h"

#define IN WEIGHTS_DENSE_KERNEL_DIM1
#define OUT WEIGHTS_DENSE_KERNEL_DIM0

int main(void) {
    size_t n, to, from;
    for (n = 0; n < ACTIVATIONS_X_DIM0; n++) {
        for (to = 0; to < OUT; to++) {
            int32_t sum = weights_dense_bias[to];
            for (from = 0; from < IN; from++)
                sum += (activations_x[n * IN + from] - ACTIVATIONS_X_ZERO_POINT) *
                       (weights_dense_kernel[to * IN + from] - weights_dense_kernel__zero_point[to]);
            printf("%.9g ", (double)sum * ACTIVATIONS_X_SCALE * weights_dense_kernel__scale[to]);
        }
        printf("\n");
    }
    return WEIGHTS_DENSE_KERNEL_QUANTIZED_AXIS;
}
"""


def built(folder: Path, program: str, name: str, compiler: str) -> Path:
    """The path of a program, compiled without warnings; a C++ compiler takes it as C++11."""
    language = ["-std=c99", "-x", "c"] if compiler == CC else ["-std=c++11", "-x", "c++"]
    (folder / f"{name}.c").write_text(program)
    subprocess.run([compiler, *language, *STRICT, f"{name}.c", "-o", name], cwd=folder, check=True)
    return folder / name


def test_the_table_leads_to_every_array(tfdump: Run, tmp_path: Path) -> None:
    """The bytes that it lists are those of the raw file, except that half floats are floats."""
    write_every_kind(tmp_path / "d.h5")
    with h5py.File(tmp_path / "d.h5", "r+") as file:
        del file["activations/half"], file["activations/brain"]
    assert tfdump("cat", "d.h5", "--all", "--format", "c", "-o", "c").returncode == 0
    assert tfdump("cat", "d.h5", "--all", "-o", "all.bin").returncode == 0
    outputs = []
    for compiler in (CC, CXX):
        done = subprocess.run([built(tmp_path, TABLE, "table", compiler)], cwd=tmp_path, capture_output=True, text=True)
        assert (tmp_path / "all.raw").read_bytes() == (tmp_path / "all.bin").read_bytes()
        outputs.append(done.stdout)
    assert outputs[0] == outputs[1]
    *rows, end = outputs[0].splitlines()
    described = {name: rest for name, *rest in (line.split("\t") for line in rows)}
    assert described["activations/conv"] == ["float", "4800", "50,4,3,8,"]
    assert described["activations/scalar"] == ["float", "1", ""]
    assert described["activations/complex"] == ["float", "4", "2,2,"]
    assert described["activations/empty"] == ["float", "0", "0,3,"]
    assert described["activations/stack.10"] == ["float", "2", "2,1,"]
    assert "activations/text" not in described
    assert len(set(end.split())) == 1
    index = (tmp_path / "c" / "index.h").read_text()
    assert index.count('#include "') == len(list((tmp_path / "c").rglob("*.h"))) - 1  # all but itself


def test_a_folder_of_headers_can_be_replaced(tfdump: Run, tmp_path: Path) -> None:
    write_every_kind(tmp_path / "d.h5")
    for _ in range(2):
        assert tfdump("cat", "d.h5", "--all", "-l", "dense", "--format", "c", "-f", "-o", "c").returncode == 0
    index = (tmp_path / "c" / "index.h").read_text()
    assert "TFDUMP_ACTIVATIONS_COUNT 2\n" in index  # outputs/dense is the other one
    assert re.findall(r"activations_dense__sizes, 2, (\d+)", index) == [str(ARRAYS["dense"].size)]


def test_a_quantized_layer_is_computed_from_its_headers(tfdump: Run, tmp_path: Path) -> None:
    """Integers with a scale per channel, as a TFLite file has them: NumPy computes the layer from real numbers."""
    random = np.random.default_rng(3)
    x, kernel = random.integers(-128, 128, (5, 12), "i1"), random.integers(-127, 128, (4, 12), "i1")
    bias = random.integers(-5000, 5000, 4, "i4")
    scales, zeros = (random.random(4) / 100).astype("f4"), np.array([0, 1, -1, 0])
    path = write_dump(tmp_path / "x.h5", {"activations/x": (x, {"scale": np.float32(0.0123), "zero_point": -7})})
    channels = {"scale": scales, "zero_point": zeros, "quantized_axis": 0, "axis0": "none"}
    weights = {"weights/dense.kernel": (kernel, channels), "weights/dense.bias": (bias, {"axis0": "none"})}
    write_dump(tmp_path / "w.h5", weights, kind="weights")
    for dump, address, name in (
        (path.name, "x", "x.h"), ("w.h5", "dense.kernel", "kernel.h"), ("w.h5", "dense.bias", "bias.h")
    ):  # fmt: skip
        assert tfdump("cat", dump, address, "-o", name).returncode == 0
    assert "an integer q stands for (q - zero_point) * scale\n" in (tmp_path / "kernel.h").read_text()
    real_x = (x.astype("f8") + 7) * np.float64(np.float32(0.0123))
    real_kernel = (kernel.astype("f8") - zeros[:, None]) * scales[:, None].astype("f8")
    expected = real_x @ real_kernel.T + bias * np.float64(np.float32(0.0123)) * scales.astype("f8")
    for compiler in (CC, CXX):
        done = subprocess.run([built(tmp_path, DENSE, "dense", compiler)], capture_output=True, text=True, check=True)
        printed = np.array([line.split() for line in done.stdout.splitlines()], float)
        np.testing.assert_allclose(printed, expected, rtol=1e-6, atol=1e-9)
