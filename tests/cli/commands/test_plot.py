"""`tfdump plot` on dumps made without TensorFlow: files, notes, what excludes what, the same bytes every time."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from support.command import Run
from support.dump_folders import write_dump
from support.plotted_dumps import plot_dump, stored

RANDOM = np.random.default_rng(8)


@pytest.fixture
def dump(tmp_path: Path) -> Path:
    """A dump with some of everything."""
    tensors: dict[str, Any] = {
        "conv": RANDOM.normal(size=(3, 4, 4, 5)).astype("f4"),
        "lstm:0": RANDOM.normal(size=(3, 6, 4)).astype("f4"),
        "words": np.array(["a", "b", "c"], object),
        "dense": np.array([[1, np.nan], [2, 3], [np.inf, 0]], "f4"),
        "gradients/weights/conv.kernel": stored(RANDOM.normal(size=(3, 3, 2, 5)), axis0="none", of="Conv2D"),
        "gradients/weights/conv.bias": stored(RANDOM.normal(size=5), axis0="none", of="Conv2D"),
        "gradients/inputs/image": RANDOM.normal(size=(3, 4, 4, 1)).astype("f4"),
    }
    return plot_dump(tmp_path / "d.h5", tensors, loss=[3.0, 2.0, 1.0])


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["conv"], "conv.png"),
        (["lstm:0", "--format", "svg"], "lstm_0.svg"),
        (["gradients/weights/conv.kernel"], "gradients.weights.conv.kernel.png"),
        (["kernel"], "gradients.weights.conv.kernel.png"),
        (["conv", "--histogram"], "conv.histogram.png"),
        (["conv", "--kind", "heatmap"], "conv.heatmap.png"),
        (["conv", "-o", "some where.PDF"], "some where.PDF"),
        (["loss"], "loss.png"),
        (["--flow"], "d.flow.png"),
    ],
)
def test_a_picture_is_written_and_its_path_printed(tfdump: Run, dump: Path, arguments: list[str], name: str) -> None:
    done = tfdump("plot", dump, *arguments)
    assert (done.returncode, done.stdout) == (0, f"{name}\n"), done.stderr
    begins = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[name.rpartition(".")[2].lower()]
    assert (dump.parent / name).read_bytes().startswith(begins)
    assert not list(dump.parent.glob("*.partial"))


def test_notes_are_on_stderr_and_can_be_silenced(tfdump: Run, dump: Path) -> None:
    assert (
        tfdump("plot", dump, "conv").stderr
        == "Note: the picture shows example 0 of 3 (choose another with --example N)\n"
    )
    assert tfdump("plot", dump, "conv", "-qf").stderr == ""
    ignored = tfdump("plot", dump, "lstm:0", "--channels", "top", "--example", "1").stderr
    assert ignored == "Note: this picture does not use --channels, which is ignored\n"


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
def test_the_same_command_writes_the_same_bytes(tfdump_process: Run, dump: Path, ending: str) -> None:
    written = []
    for _ in range(2):
        assert tfdump_process("plot", dump, "dense", "-f", "-o", f"p.{ending}").returncode == 0
        written.append((dump.parent / f"p.{ending}").read_bytes())
    assert written[0] == written[1]
    assert not [word for word in (b"tEXt", b"dc:date", b"CreationDate", b"Producer") if word in written[0]]


def test_settings_of_the_user_change_nothing(tfdump: Run, dump: Path) -> None:
    tfdump("plot", dump, "conv", "-o", "a.png")
    import matplotlib

    with matplotlib.rc_context({"font.size": 30, "image.cmap": "jet", "axes.facecolor": "red", "savefig.dpi": 7}):
        tfdump("plot", dump, "conv", "-o", "b.png")
    assert (dump.parent / "a.png").read_bytes() == (dump.parent / "b.png").read_bytes()


def test_all_draws_what_can_be_drawn_and_names_the_rest(tfdump: Run, dump: Path) -> None:
    done = tfdump("plot", dump, "--all", "-o", "out/all")
    names = done.stdout.split()
    assert "out/all/conv.png" in names
    assert "out/all/gradients.inputs.image.png" in names
    assert len(names) == 6
    assert all((dump.parent / name).exists() for name in names)
    assert "Note: not drawn: 'words' is string, and pictures show numbers" in done.stderr
    again = tfdump("plot", dump, "--all", "-o", "out/all")
    assert (again.returncode, again.stdout) == (2, "")
    assert "exists (overwrite it with -f" in again.stderr
    some = tfdump("plot", dump, "--all", "-o", "some", "-l", "type:Conv2D", "-x", "*bias", "--format", "svg")
    assert some.stdout == "some/gradients.weights.conv.kernel.svg\n"
    nothing = tfdump("plot", dump, "--all", "-o", "none", "-l", "words")
    assert nothing.returncode == 2
    assert "no selected tensor of" in nothing.stderr


def test_names_that_would_be_the_same_file_are_told_apart(tfdump: Run, tmp_path: Path) -> None:
    values = np.ones((2, 3), "f4")
    path = plot_dump(tmp_path / "d.h5", {"a:0": values, "a_0": values, "A_0": values, "x" * 300: values})
    names = [Path(line).name for line in tfdump("plot", path, "--all", "-o", "p", "-q").stdout.split()]
    assert names[:3] == ["a_0.png", "a_0.1.png", "A_0.2.png"]
    assert len(names[3]) < 200
    assert len(set(names)) == 4


def test_the_text_is_a_histogram_and_needs_no_matplotlib(dump: Path) -> None:
    code = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "from tfdump.cli.main import run\n"
        f"assert run(['plot', {str(dump)!r}, 'dense', '--text']) == 0\n"
        f"assert run(['plot', {str(dump)!r}, 'dense']) == 2\n"
        "assert not {'tensorflow', 'keras'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 22
    assert lines[-2].split()[0] == "+Inf"
    assert lines[-1].split()[0] == "NaN"
    assert sum(int(line.split()[-1]) for line in lines) == 6
    assert done.stderr == (
        "Error: pictures need an extra: pip install 'tfdump[plot]' (--text prints a histogram without it)\n"
    )


def test_a_plot_imports_no_tensorflow(dump: Path) -> None:
    code = (
        "import sys; from tfdump.cli.main import run\n"
        f"assert run(['plot', {str(dump)!r}, 'conv', '-fo', {str(dump.parent / 'x.png')!r}]) == 0\n"
        "assert 'matplotlib' in sys.modules and not {'tensorflow', 'keras', 'matplotlib.pyplot'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "give an ADDRESS (list them: tfdump show DUMP), --all or --flow"),
        (["conx"], "has no tensor 'conx'; near: 'conv'"),
        (["words"], "'words' is string"),
        (["conv", "-o", "x.bmp"], "'x.bmp' does not end as a picture does (choose one of .png, .svg, .pdf)"),
        (["conv", "-o", "nowhere/x.png"], "output folder nowhere does not exist"),
        (["conv", "-o", "x.png", "--format", "svg"], "-o FILE decides the format"),
        (["conv", "--flow"], "--flow draws the whole dump"),
        (["--all"], "--all needs a folder (add -o FOLDER)"),
        (["--all", "--flow"], "--all and --flow exclude each other"),
        (["--all", "-o", "d.h5"], "cannot make the folder d.h5"),
        (["conv", "-l", "conv"], "-l, -x and --depth select tensors of"),
        (["conv", "--text", "-o", "x.png"], "--text prints the histogram (leave -o and --format out)"),
        (["conv", "--text", "--kind", "bars"], "leave --kind and --histogram out"),
        (["words", "--text"], "'words' is string"),
        (["conv", "--kind", "pie"], "'pie' is not one of"),
        (["conv", "--kind", "bars", "--histogram"], "--histogram and --kind bars exclude each other"),
        (
            ["conv", "--example", "x"],
            "so none is 'x' (give --example a number)",
        ),
        (["conv", "--examples", "3"], "--examples '3' is not START:STOP"),
        (["conv", "--animate", "x.gif"], "--animate needs a folder of dumps"),
        (["--flow", "--channels", "top"], "--channels is for a picture of values"),
        (["d.h5", "--diff", "--depth", "1"], "--depth belongs to --all and --flow"),
        (["--diff"], "give the dump to compare with"),
        (["nothing.h5", "--diff"], "nothing.h5"),
        (["--flow", "-l", "nothing"], "no layer matches 'nothing'"),
        (["conv", "--tokens", "missing.txt"], "no such file: missing.txt"),
        (["gradients/inputs/image", "--overlay", "missing.npy"], "missing.npy"),
        (["--all", "-o", "p", "--overlay", "x.npy"], "--overlay belongs to one saliency map"),
    ],
)
def test_bad_input_is_one_line_and_leaves_no_file(tfdump: Run, dump: Path, arguments: list[str], words: str) -> None:
    before = {path.name for path in dump.parent.iterdir()} | {"p"}
    done = tfdump("plot", dump, *arguments)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1
    assert words in done.stderr
    assert {path.name for path in dump.parent.iterdir()} <= before


def test_an_existing_picture_is_refused_and_the_dump_never_overwritten(tfdump: Run, dump: Path) -> None:
    assert tfdump("plot", dump, "conv").returncode == 0
    assert "output conv.png exists (overwrite it with -f" in tfdump("plot", dump, "conv").stderr
    assert tfdump("plot", dump, "conv", "-f").returncode == 0
    (dump.parent / "link.png").symlink_to(dump)
    refused = tfdump("plot", dump, "conv", "-f", "-o", "link.png")
    assert "is the file that the dump is made from" in refused.stderr


def test_the_input_lies_under_a_saliency_map(tfdump: Run, dump: Path) -> None:
    np.save(dump.parent / "x.npy", RANDOM.random((3, 4, 4, 1)))
    done = tfdump("plot", dump, "gradients/inputs/image", "--overlay", "x.npy", "--example", "2", "-o", "s.png")
    assert (done.stdout, done.stderr) == ("s.png\n", "")
    np.save(dump.parent / "y.npy", RANDOM.random((1, 4, 4, 1)))
    refused = tfdump("plot", dump, "gradients/inputs/image", "--overlay", "y.npy", "--example", "2", "-o", "t.png")
    assert "y.npy has no example 2: it has 1 (choose another with --example)" in refused.stderr


def test_tokens_name_the_attention(tfdump: Run, tmp_path: Path) -> None:
    path = plot_dump(tmp_path / "a.h5", {"m:attention_scores": RANDOM.random((1, 2, 3, 3))})
    (tmp_path / "t.txt").write_text("the\nend\n[PAD]\n", "utf-8")
    done = tfdump("plot", path, "m:attention_scores", "--tokens", "t.txt", "-o", "a.svg")
    assert done.returncode == 0, done.stderr
    (tmp_path / "t.txt").write_bytes(b"\xff\xfe")
    assert "t.txt is not UTF-8 text" in tfdump("plot", path, "m:attention_scores", "--tokens", "t.txt").stderr


def test_the_flow_tells_what_has_no_place_in_it(tfdump: Run, tmp_path: Path) -> None:
    tensors = {
        "gradients/weights/a.kernel": stored(np.ones((2, 2)), axis0="none"),
        "gradients/weights/b.kernel": stored(np.zeros((0, 2)), connected=False),
    }
    done = tfdump("plot", plot_dump(tmp_path / "g.h5", tensors), "--flow")
    assert done.stdout == "g.flow.png\n"
    assert done.stderr == "Note: not in the picture of gradients/weights, not connected: 1 (b.kernel)\n"


def test_the_error_along_depth_names_the_first_divergence(tfdump: Run, tmp_path: Path) -> None:
    values = RANDOM.normal(size=(4, 3)).astype("f4")
    golden = plot_dump(tmp_path / "golden.h5", {"a": values, "b": values, "c": values})
    new = plot_dump(tmp_path / "new.h5", {"a": values, "b": values * 1.5, "c": values * 1.1})
    done = tfdump("plot", golden, new, "--diff", "-o", "d.svg")
    assert done.stdout == "d.svg\n"
    assert "first diverging layer: b (Dense)" in done.stderr


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three epochs of an activation and of a gradient; the middle one lacks the activation `late`."""
    run = tmp_path / "run"
    run.mkdir()
    for epoch in (1, 2, 3):
        tensors = {"x": np.full((2, 3), float(epoch), "f4"), **({"late": np.ones((2, 3), "f4")} if epoch != 2 else {})}
        write_dump(run / f"epoch-000{epoch}.activations.h5", tensors, epoch=epoch, batch=epoch * 10)
        write_dump(run / f"epoch-000{epoch}.gradients.h5", {"w": np.full((2, 3), 1 / epoch, "f4")}, epoch=epoch,
                   batch=epoch * 10, group="gradients/weights", norm=6**0.5 / epoch)  # fmt: skip
    return run


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["x"], "x.training.png"),
        (["x", "--flow"], "x.flow.png"),
        (["gradients/weights/w", "--flow", "--format", "svg"], "gradients.weights.w.flow.svg"),
    ],
)
def test_a_folder_gives_curves_over_the_training(tfdump: Run, folder: Path, arguments: list[str], name: str) -> None:
    done = tfdump("plot", folder, *arguments)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{name}\n", "")


def test_a_folder_tells_what_is_missing(tfdump: Run, folder: Path) -> None:
    assert "Note: activations/late is not in 1 of 3 dumps" in tfdump("plot", folder, "late").stderr
    assert "has a tensor 'y'" in tfdump("plot", folder, "y").stderr
    assert "--all needs one dump" in tfdump("plot", folder, "--all", "-o", "p").stderr
    assert "give an ADDRESS" in tfdump("plot", folder).stderr


def test_an_animation_has_a_frame_a_dump_on_one_scale(tfdump: Run, folder: Path) -> None:
    done = tfdump("plot", folder, "x", "--animate", "x.gif")
    assert done.stdout == "x.gif\n"
    first = (folder.parent / "x.gif").read_bytes()
    shades = set()
    with Image.open(folder.parent / "x.gif") as opened:
        assert opened.n_frames == 3
        for number in range(3):
            opened.seek(number)
            frame = opened.convert("RGB")
            assert frame.getpixel((0, 0)) == (255, 255, 255)
            shades.add(frame.getpixel((100, 90)))
    assert len(shades) == 3, "1, 2 and 3 are three shades"
    assert tfdump("plot", folder, "x", "--animate", "x.gif", "-f").returncode == 0
    assert (folder.parent / "x.gif").read_bytes() == first
    assert "exists" in tfdump("plot", folder, "x", "--animate", "x.gif").stderr
    assert "does not end in .gif" in tfdump("plot", folder, "x", "--animate", "x.png").stderr


def test_curves_over_the_training_are_those_of_the_values(folder: Path) -> None:
    from tfdump.dump.series import open_series
    from tfdump.plots.pictures.training import over_training

    series = open_series(folder)
    axes = over_training(series, "x", scale=False).figure.axes[0]
    lines = {line.get_label(): line for line in axes.lines}
    for name in ("min", "mean", "max"):
        assert lines[name].get_ydata().tolist() == [1.0, 2.0, 3.0]
        assert lines[name].get_xdata().tolist() == [1, 2, 3]
    assert axes.get_xlabel() == "epoch"
    norms = over_training(series, "gradients/weights/w", scale=True).figure.axes[0].lines[0]
    np.testing.assert_allclose(norms.get_ydata(), [6**0.5, 6**0.5 / 2, 6**0.5 / 3])


def test_the_error_is_the_largest_as_a_share_of_the_largest(tmp_path: Path) -> None:
    from tfdump.comparison.diff import compare
    from tfdump.comparison.options import DiffOptions
    from tfdump.plots.figure import Caption
    from tfdump.plots.pictures.divergence import divergence_figure

    values = RANDOM.normal(size=(4, 3))
    other = values.copy()
    other[2, 1] += 0.25
    golden = plot_dump(
        tmp_path / "golden.h5", {"a": values, "b": values, "c": values, "only": RANDOM.normal(size=(4, 3))}
    )
    new = plot_dump(tmp_path / "new.h5", {"a": values, "b": other, "c": values})
    figure, notes = divergence_figure(compare(golden, new, DiffOptions()), Caption("x"))
    axes = figure.axes[0]
    lines = {line.get_label(): line for line in axes.lines}
    share = 0.25 / np.abs(values).max()
    assert lines["largest error"].get_ydata()[1] == pytest.approx(share)
    assert lines["outside its tolerance"].get_xdata().tolist() == [1]
    assert lines["exactly 0"].get_xdata().tolist() == [0, 2]
    assert "first divergence: b" in [text.get_text() for text in axes.texts]
    assert any("not in the picture: 1 (only (only the golden side has it))" in note for note in notes)
