"""`tfdump compare` from the outside."""

import json
import shutil
from pathlib import Path
from xml.etree import ElementTree

import h5py
import keras
import numpy as np
import pytest

from support.command import SAMPLES, Run
from support.saved_formats import lite, sample

pytestmark = pytest.mark.tensorflow

KERAS, X = SAMPLES / "digits_cnn.keras", SAMPLES / "digits.npy"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sample model as `.tflite`, as int8, and with one kernel changed."""
    folder = tmp_path_factory.mktemp("models")
    model = sample("digits_cnn")
    lite(model, folder / "float.tflite")
    lite(model, folder / "int8.tflite", "int8", np.load(X)[:100])
    kernel = model.get_layer("conv2").kernel
    kernel.assign(kernel * 1.01)
    model.save(folder / "changed.keras")
    return folder


@pytest.fixture
def here(files: Path, tmp_path: Path) -> Path:
    """The same files in the folder where commands run, with the sample model."""
    for path in (*files.iterdir(), KERAS, X):
        shutil.copy(path, tmp_path)
    return tmp_path


def test_models_that_agree_end_with_status_0_and_store_nothing(tfdump: Run, here: Path) -> None:
    before = sorted(here.iterdir())
    done = tfdump("compare", "digits_cnn.keras", "float.tflite", "digits.npy", "--pair", "values")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [done.stdout.splitlines()[0]]
    assert "digits_cnn.keras and float.tflite agree in 10 tensors (4 fused)" in done.stderr
    assert sorted(here.iterdir()) == before
    quiet = tfdump("compare", "digits_cnn.keras", "float.tflite", "digits.npy", "-q")
    assert (quiet.returncode, quiet.stderr) == (0, "")


def test_a_difference_ends_with_status_1_and_names_the_layer(tfdump: Run, here: Path) -> None:
    done = tfdump("compare", "digits_cnn.keras", "changed.keras", "digits.npy", "--batch-size", "32")
    assert done.returncode == 1
    assert "first diverging layer: conv2 (Conv2D): " in done.stderr
    names = [line.split("\t")[0] for line in done.stdout.splitlines()[1:]]
    assert names[0] == "activations/conv2"
    assert "activations/relu1" not in names
    done = tfdump("compare", "digits_cnn.keras", "changed.keras", "digits.npy", "--scale", "1", "--all")
    assert done.returncode == 0
    assert "activations/relu1\t" in done.stdout


def test_json_and_junit_are_those_of_diff(tfdump: Run, here: Path) -> None:
    for model in ("digits_cnn", "changed"):
        tfdump("activations", f"{model}.keras", "digits.npy", "-q", "--batch-size", "32")
    command = ("digits_cnn.keras", "changed.keras", "digits.npy", "--batch-size", "32")
    dumps = ("digits_cnn.activations.h5", "changed.activations.h5")
    ours, theirs = (json.loads(tfdump(*words, "--json").stdout) for words in (("compare", *command), ("diff", *dumps)))
    assert ours["kind"] == "compare"
    assert ours["items"] == theirs["items"]
    assert (ours["same"], ours["first"]) == (False, "activations/conv2")
    reports = [
        ElementTree.fromstring(tfdump(*words, "--format", "junit").stdout)
        for words in (("compare", *command), ("diff", *dumps))
    ]
    cases = [[(case.get("name"), [child.tag for child in case]) for case in one.iter("testcase")] for one in reports]
    assert cases[0] == cases[1]
    assert len(cases[0]) == 14


def test_a_quantized_file_is_judged_by_directions(tfdump: Run, here: Path) -> None:
    done = tfdump(
        "compare", "digits_cnn.keras", "int8.tflite", "digits.npy", "--new-dequantize", "--min-cosine", "0.98",
        "--allow-missing",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    turned = tfdump(
        "compare", "int8.tflite", "digits_cnn.keras", "digits.npy", "--golden-dequantize", "--min-cosine", "0.98",
        "--allow-missing",
    )  # fmt: skip
    assert turned.returncode == 0, turned.stderr


def test_noise_and_steps_are_those_of_numpy_and_of_dumps(tfdump: Run, here: Path) -> None:
    both = ("--min-sqnr", "30", "--min-sqnr", "predictions=40", "--allow-missing", "--all")
    done = tfdump("compare", "digits_cnn.keras", "int8.tflite", "digits.npy", "--new-dequantize", *both, "--json")
    assert done.returncode == 0, done.stderr
    assert tfdump("activations", "digits_cnn.keras", "digits.npy", "-q", "-o", "g.h5").returncode == 0
    for name, options in (("raw", ()), ("real", ("--dequantize",))):
        made = tfdump("activations", "int8.tflite", "digits.npy", "-q", "-o", f"{name}.h5", *options,
                      "--like", "digits_cnn.keras")  # fmt: skip
        assert made.returncode == 0, made.stderr
    live = {one["name"]: one["comparison"] for one in json.loads(done.stdout)["items"]}
    with h5py.File(here / "g.h5") as golden, h5py.File(here / "raw.h5") as raw:
        for address in ("relu1", "bn2", "hidden", "logits"):
            x, q = (file["activations"][address] for file in (golden, raw))
            scale = np.float32(q.attrs["scale"])
            error = x[()].astype("f8") - (q[()].astype("i4") - q.attrs["zero_point"]).astype("f4") * scale
            told = live[f"activations/{address}"]
            wanted = 10 * np.log10((x[()].astype("f8") ** 2).sum() / (error**2).sum())
            assert told["sqnr"] == pytest.approx(wanted, abs=1e-6)
            assert told["steps"] == pytest.approx(np.abs(error).max() / scale, rel=1e-6)
    for name in ("raw", "real"):
        stored = json.loads(tfdump("diff", "g.h5", f"{name}.h5", *both, "--json").stdout)
        for one in stored["items"]:
            if one["comparison"] is not None and one["paired_by"] == "address":
                told = live[one["name"]]
                for number in ("sqnr", "steps", "saturated"):
                    assert one["comparison"][number] == pytest.approx(told[number], rel=1e-6)
    failing = tfdump("compare", "digits_cnn.keras", "int8.tflite", "digits.npy", "--new-dequantize",
                     "--min-sqnr", "36", "--allow-missing", "--first", "--batch-size", "100")  # fmt: skip
    assert failing.returncode == 1
    assert "dB is below 36 dB" in failing.stderr


def test_the_golden_test_is_one_command(tfdump: Run, here: Path) -> None:
    made = tfdump("activations", "digits_cnn.keras", "digits.npy", "-q", "-o", "golden.h5")
    assert made.returncode == 0
    assert tfdump("compare", "golden.h5", "float.tflite", "digits.npy", "-q").returncode == 0
    done = tfdump("compare", "golden.h5", "changed.keras", "digits.npy", "-q")
    assert done.returncode == 1
    assert "first diverging layer: conv2" in done.stderr


def test_both_dumps_are_written_where_they_are_asked_for(tfdump: Run, here: Path) -> None:
    done = tfdump("compare", "digits_cnn.keras", "changed.keras", "digits.npy", "-o", "both", "--batch-size", "32")
    assert done.returncode == 1
    assert sorted(path.name for path in (here / "both").iterdir()) == ["golden.h5", "new.h5"]
    diff = tfdump("diff", "both/golden.h5", "both/new.h5")
    assert diff.stdout == done.stdout
    for name, model in (("golden", "digits_cnn"), ("new", "changed")):
        tfdump("activations", f"{model}.keras", "digits.npy", "-q", "-o", "alone.h5", "-f", "--batch-size", "32")
        with h5py.File(here / "both" / f"{name}.h5") as ours, h5py.File(here / "alone.h5") as alone:
            assert list(ours["activations"]) == list(alone["activations"])
            assert all(
                (ours["activations"][key][()] == alone["activations"][key][()]).all() for key in ours["activations"]
            )
    again = tfdump("compare", "digits_cnn.keras", "changed.keras", "digits.npy", "-o", "both")
    assert (again.returncode, again.stdout) == (2, "")
    assert "exists (overwrite it with -f" in again.stderr


@pytest.mark.parametrize("options", [(), ("-o", "both"), ("--first", "--batch-size", "50")])
def test_the_page_has_the_verdicts_of_all_examples(tfdump: Run, here: Path, options: tuple[str, ...]) -> None:
    done = tfdump("compare", "digits_cnn.keras", "changed.keras", "digits.npy", "--report", "p.html", *options)
    assert done.returncode == 1
    page = (here / "p.html").read_text()
    assert "<title>digits_cnn.keras and changed.keras - tfdump report</title>" in page
    assert "conv2" in page
    assert "compared with" in page or "differs" in page
    assert not list(here.glob("tfdump-*"))


def test_a_page_of_a_sample_says_so(tfdump: Run, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tfdump.side_by_side.dumping.sample_size.__defaults__", (1 << 20,))
    done = tfdump("compare", "digits_cnn.keras", "changed.keras", "digits.npy", "--report", "p.html")
    assert done.returncode == 1
    page = (here / "p.html").read_text()
    assert "the verdicts are those of 300 examples; statistics, findings and pictures are those of the first" in page


def own_errors(text: str) -> dict[str, float]:
    """The own errors in a table of tab-separated values, by golden names."""
    header, *lines = (line.split("\t") for line in text.splitlines())
    rows = [dict(zip(header, line, strict=True)) for line in lines]
    return {row["tensor"]: float(row["own error"]) for row in rows if row["own error"]}


def test_isolated_errors_are_columns_and_a_verdict(tfdump: Run, here: Path) -> None:
    words = ("compare", "digits_cnn.keras", "changed.keras", "digits.npy", "--batch-size", "64")
    done = tfdump(*words, "--isolate")
    assert done.returncode == 1
    assert done.stdout.splitlines()[0].endswith("\treason\tsqnr\tsteps\ttotal error\town error")
    errors = own_errors(done.stdout)
    assert errors["activations/conv2"] > 1e-3
    assert errors["activations/bn2"] < 1e-5
    assert done.stderr.splitlines()[-1] == (
        "conv2 adds 100 % of the error that leaves it; bn2, add, relu2 and 6 more pass on what they get"
    )
    turned = tfdump("compare", "changed.keras", "digits_cnn.keras", "digits.npy", "--isolate", "-q", "--format", "tsv")
    assert max(own_errors(turned.stdout), key=own_errors(turned.stdout).__getitem__) == "activations/conv2"
    plain = tfdump(*words)
    assert "own error" not in plain.stdout
    assert plain.stdout.splitlines()[1:] == [
        line.rpartition("\t")[0].rpartition("\t")[0] for line in done.stdout.splitlines()[1:]
    ]


def test_isolated_errors_in_json_and_junit(tfdump: Run, here: Path) -> None:
    words = ("compare", "digits_cnn.keras", "changed.keras", "digits.npy", "--influence")
    report = json.loads(tfdump(*words, "--json").stdout)
    (item,) = [item for item in report["items"] if item["name"] == "activations/conv2"]
    assert item["own_error"] == pytest.approx(item["total_error"], rel=1e-3)
    assert item["influence"] == pytest.approx(1, abs=1e-4)
    assert report["blame"].startswith("conv2 adds 100 % of the error that leaves it; ")
    assert report["blame"].endswith("with conv2 alone right, 100 % of the error of the outputs goes away")
    document = ElementTree.fromstring(tfdump(*words, "--format", "junit").stdout)
    (failure,) = [case for case in document.iter("testcase") if case.get("name") == "conv2"]
    assert "own error: " in "".join(failure.itertext())
    quantized = json.loads(
        tfdump("compare", "int8.tflite", "digits_cnn.keras", "digits.npy", "--golden-dequantize", "--isolate",
               "--format", "json").stdout
    )  # fmt: skip
    assert {item["own_error"] for item in quantized["items"] if item["name"] == "activations/pool"} == {0.0}


def test_isolated_errors_beside_dumps_and_a_page(tfdump: Run, here: Path) -> None:
    words = ("compare", "digits_cnn.keras", "changed.keras", "digits.npy", "--isolate")
    done = tfdump(*words, "-o", "both", "--report", "p.html")
    assert done.returncode == 1
    assert own_errors(done.stdout) == own_errors(tfdump(*words).stdout)
    assert sorted(path.name for path in (here / "both").iterdir()) == ["golden.h5", "new.h5"]
    assert "conv2 adds 100 % of the error that leaves it" in (here / "p.html").read_text()
    beside = tfdump("compare", "both/new.h5", "digits_cnn.keras", "digits.npy", "--isolate")
    assert max(own_errors(beside.stdout), key=own_errors(beside.stdout).__getitem__) == "activations/conv2"


BAD = {
    "errors without Keras": (
        ("compare", "float.tflite", "int8.tflite", "digits.npy", "--isolate"),
        "--isolate and --influence need a Keras model on one side (compare with the .keras file",
    ),
    "influence without Keras": (
        ("compare", "float.tflite", "int8.tflite", "digits.npy", "--influence"), "need a Keras model on one side",
    ),
    "errors of integers": (
        ("compare", "digits_cnn.keras", "int8.tflite", "digits.npy", "--isolate", "--exact"), "no numbers of one kind",
    ),
    "no such model": (("compare", "no.keras", "float.tflite", "digits.npy"), "no.keras"),
    "no input": (("compare", "digits_cnn.keras", "float.tflite", "no.npy"), "no.npy"),
    "an array as a model": (("compare", "digits.npy", "float.tflite", "digits.npy"), "digits.npy"),
    "a wrong glob": (("compare", "digits_cnn.keras", "float.tflite", "digits.npy", "--ignore", "zzz"), "'zzz'"),
    "a wrong pattern": (("compare", "digits_cnn.keras", "float.tflite", "digits.npy", "-l", "zzz"), "'zzz'"),
    "two rules": (("compare", "digits_cnn.keras", "float.tflite", "digits.npy", "--exact", "--rtol", "1"), "combined"),
    "first and dumps": (("compare", "digits_cnn.keras", "float.tflite", "digits.npy", "--first", "-o", "d"), "--first"),
    "one folder for two": (
        ("compare", "digits_cnn.keras", "float.tflite", "digits.npy", "-o", "d", "--shrink", "d"), "the same folder",
    ),
    "axes of examples": (
        ("compare", "digits_cnn.keras", "float.tflite", "digits.npy", "--transpose", "hidden=1,0"), "examples first",
    ),
    "dequantize of Keras": (
        ("compare", "digits_cnn.keras", "float.tflite", "digits.npy", "--golden-dequantize"), "digits_cnn.keras",
    ),
    "a signature of Keras": (
        ("compare", "digits_cnn.keras", "float.tflite", "digits.npy", "--golden-signature", "x"), "no signatures",
    ),
    "no page": (("compare", "digits_cnn.keras", "float.tflite", "digits.npy", "--report", "p.png"), "p.png"),
}  # fmt: skip


@pytest.mark.parametrize(("command", "said"), BAD.values(), ids=BAD)
def test_bad_input_is_one_line(tfdump: Run, here: Path, command: tuple[str, ...], said: str) -> None:
    done = tfdump(*command)
    assert (done.returncode, done.stdout) == (2, "")
    (error,) = [line for line in done.stderr.splitlines() if not line.startswith("Note: ")]
    assert error.startswith("Error: ")
    assert said in error
    assert not (here / "d").exists()


def test_dumps_that_cannot_be_compared_are_one_line(tfdump: Run, here: Path) -> None:
    tfdump("activations", "digits_cnn.keras", "digits.npy", "-q", "-o", "golden.h5")
    np.save(here / "other.npy", 1 - np.load(X))
    shutil.copy(here / "golden.h5", here / "silent.h5")
    with h5py.File(here / "silent.h5", "r+") as file:
        del file.attrs["inputs_sha256"]
    tfdump(
        "gradients", "digits_cnn.keras", "digits.npy", "--wrt", "inputs", "--objective", "sum", "-q", "-o", "grad.h5"
    )
    for words, said in (
        (("golden.h5", "float.tflite", "other.npy"), "golden.h5 was made with other inputs"),
        (("silent.h5", "float.tflite", "digits.npy"), "silent.h5 does not tell with which inputs it was made"),
        (("grad.h5", "float.tflite", "digits.npy"), "grad.h5 is a dump of gradients"),
        (("golden.h5", "golden.h5", "digits.npy"), "both sides are dumps"),
        (("golden.h5", "float.tflite", "digits.npy", "--golden-dequantize"), "golden.h5 is a dump"),
    ):
        done = tfdump("compare", *words, "-q")
        assert (done.returncode, done.stdout) == (2, "")
        assert len(done.stderr.splitlines()) == 1
        assert said in done.stderr


def test_a_dump_of_statistics_has_no_values_to_isolate(tfdump: Run, here: Path) -> None:
    tfdump("activations", "digits_cnn.keras", "digits.npy", "-q", "-o", "golden.h5", "--stats-only")
    done = tfdump("compare", "golden.h5", "changed.keras", "digits.npy", "--isolate", "-q")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines() == [
        "Error: no error can be isolated, because one side has no values (leave --isolate and --influence out)"
    ]


def test_inputs_in_a_dump_tell_too(tfdump: Run, here: Path) -> None:
    tfdump("activations", "digits_cnn.keras", "digits.npy", "-q", "-o", "golden.h5", "--save-inputs")
    with h5py.File(here / "golden.h5", "r+") as file:
        del file.attrs["inputs_sha256"]
    assert tfdump("compare", "golden.h5", "float.tflite", "digits.npy", "-q").returncode == 0
    changed = np.load(X)
    changed[200] += 1
    np.save(here / "other.npy", changed)
    assert "made with other inputs" in tfdump("compare", "golden.h5", "float.tflite", "other.npy").stderr


def test_models_of_other_inputs_are_both_named(tfdump: Run, here: Path) -> None:
    keras.utils.clear_session()
    keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten()]).save(here / "small.keras")
    done = tfdump("compare", "digits_cnn.keras", "small.keras", "digits.npy", "-q")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "digits_cnn.keras takes 'image' (?, 8, 8, 1), and small.keras takes " in done.stderr
