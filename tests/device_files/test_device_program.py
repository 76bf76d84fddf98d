"""A C program computes a layer of the digits CNN from headers of `cat`, and what it prints is imported and compared."""

import shutil
import subprocess
from pathlib import Path

import pytest

from support.command import SAMPLES, Run

CC, CXX = shutil.which("cc"), shutil.which("c++")

PROGRAM = r"""
#include <stdio.h>
#include "activations/index.h"
#include "weights/index.h"

int main(void) {
    size_t n, to, from;
    for (n = 0; n < ACTIVATIONS_HIDDEN_DIM0; n++) {
        printf("[");
        for (to = 0; to < ACTIVATIONS_HIDDEN_DIM1; to++) {
            double sum = weights_hidden_bias[to];
            for (from = 0; from < ACTIVATIONS_FLATTEN_DIM1; from++)
                sum += (double)activations_flatten[n * ACTIVATIONS_FLATTEN_DIM1 + from] *
                       weights_hidden_kernel[from * WEIGHTS_HIDDEN_KERNEL_DIM1 + to];
            printf("%.9ef,%s", SUM, to % 8 == 7 ? "\r\n" : " ");
        }
        printf("]\r\n");
    }
    return tfdump_activations[0].rank != 4 || TFDUMP_WEIGHTS_COUNT != 16;
}
"""


@pytest.mark.tensorflow
@pytest.mark.skipif(CC is None or CXX is None, reason="no C or C++ compiler on this machine")
def test_what_a_program_computes_from_headers_is_imported(tfdump: Run, tmp_path: Path) -> None:
    """Without its activation function, the same layer differs."""
    model = SAMPLES / "digits_cnn.keras"
    assert tfdump("activations", model, SAMPLES / "digits.npy", "--examples", "2:5", "-o", "g.h5").returncode == 0
    assert tfdump("weights", model, "-o", "w.h5").returncode == 0
    for dump, folder in (("g.h5", "activations"), ("w.h5", "weights")):
        assert tfdump("cat", dump, "--all", "--format", "c", "-o", folder).returncode == 0
    for compiler, language, printed, status in (
        (CC, ["-std=c99", "-x", "c"], "sum > 0 ? sum : 0.0", 0),
        (CXX, ["-std=c++11", "-x", "c++"], "sum", 1),
    ):
        (tmp_path / "p.c").write_text(PROGRAM.replace("SUM", printed))
        strict = [*language, "-Wall", "-Wextra", "-Werror", "-pedantic"]
        subprocess.run([compiler, *strict, "p.c", "-o", "p"], cwd=tmp_path, check=True)
        done = subprocess.run(["./p"], cwd=tmp_path, capture_output=True, check=True)
        (tmp_path / "serial.txt").write_bytes(done.stdout)
        assert tfdump("import", "hidden=serial.txt", "--like", "g.h5", "-f", "-o", "d.h5").returncode == 0
        compared = tfdump("diff", "g.h5", "d.h5", "--allow-missing", "-l", "hidden")
        assert compared.returncode == status
    assert "first diverging layer: hidden" in compared.stderr
