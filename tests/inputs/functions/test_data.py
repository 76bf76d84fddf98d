"""Data from code of the user, against the arrays of which it is made."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfdump.errors import InputError
from tfdump.inputs.data_options import DataOptions
from tfdump.inputs.functions import spool
from tfdump.inputs.functions.data import UserData, data_of_function
from tfdump.inputs.input_array import InputCollection, array_names_of
from tfdump.inputs.matching import match
from tfdump.tensors import InputSpec

pytestmark = pytest.mark.tensorflow

X = np.random.default_rng(0).normal(size=(50, 4, 3)).astype("float32")
Y = np.arange(50) % 7
W = np.linspace(0.5, 2, 50)
SPECS = [InputSpec("x", (None, 4, 3), "float32")]


class Batches(keras.utils.PyDataset):
    """Batches of 16, and one of 2."""

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Any:
        part = slice(index * 16, index * 16 + 16)
        return X[part], Y[part], W[part]


def yields() -> Iterator[Any]:
    for start in range(0, 50, 16):
        yield X[start : start + 16], Y[start : start + 16], W[start : start + 16]


def yields_lists() -> Iterator[Any]:
    yield from map(list, yields())


def yields_dicts() -> Iterator[Any]:
    for x, y, w in yields():
        yield {"x": x}, {"out": y}, w


def yields_examples() -> Iterator[Any]:
    yield from zip(X, Y, W, strict=True)


def by_range(start: int, stop: int) -> Any:
    return X[start:stop], Y[start:stop], W[start:stop]


def dataset() -> Any:
    return tf.data.Dataset.from_tensor_slices((X, Y, W))


GIVEN: dict[str, Callable[..., Any]] = {
    "arrays": lambda: (X, Y, W),
    "generator": yields,
    "lists": yields_lists,
    "dicts": yields_dicts,
    "examples": yields_examples,
    "range": by_range,
    "PyDataset": Batches,
    "data set": lambda: dataset().batch(16),
    "unbatched data set": dataset,
    "list of batches": lambda: list(yields()),
}


def data(function: Callable[..., Any], most: int | None = None) -> UserData:
    return UserData(function, "data.py:f", most)


@pytest.mark.parametrize("kind", GIVEN)
def test_rows_can_be_read_in_any_order(kind: str) -> None:
    from_user = data(GIVEN[kind])
    (reader,) = match([InputCollection(None, from_user)], SPECS).values()
    target, weight = from_user.targets()[0].reader, from_user.sample_weights()[0].reader
    assert (reader.shape, target.shape, weight.shape) == ((50, 4, 3), (50,), (50,))
    for start, stop in ((0, 2), (48, 50), (10, 40), (0, 50), (3, 3)):
        np.testing.assert_array_equal(reader.read(start, stop), X[start:stop])
        np.testing.assert_array_equal(target.read(start, stop), Y[start:stop])
        np.testing.assert_array_equal(weight.read(start, stop), W[start:stop])
    assert (reader.dtype, target.dtype, weight.dtype) == (X.dtype, Y.dtype, W.dtype)


@pytest.mark.parametrize("kind", [kind for kind in GIVEN if kind != "arrays"])
@pytest.mark.parametrize(("most", "count"), [(1, 1), (20, 20), (48, 48), (49, 49), (70, 50)])
def test_what_bounds_data_that_is_read_in_order(kind: str, most: int, count: int) -> None:
    (reader,) = match([InputCollection(None, data(GIVEN[kind], most))], SPECS).values()
    assert reader.shape == (count, 4, 3)
    np.testing.assert_array_equal(reader.read(0, count), X[:count])


def test_a_function_is_called_once_and_read_once() -> None:
    calls = []

    def counted() -> Iterator[Any]:
        calls.append("called")
        for item in yields():
            calls.append("batch")
            yield item

    from_user = data(counted)
    array = InputCollection(None, from_user)
    assert array_names_of([array]) == [None]
    assert calls == ["called", "batch"]
    for _ in range(2):
        match([array], SPECS)["x"].read(0, 50)
    assert len(from_user.targets()) == 1
    assert calls == ["called"] + ["batch"] * 4


def test_names_are_known_before_the_inputs_of_the_model() -> None:
    array = InputCollection(None, data(yields_dicts))
    assert array_names_of([array]) == ["x"]
    assert array.targets()[0].name == "out"


def test_several_inputs_by_name_or_in_order() -> None:
    specs = [InputSpec("a", (None, 3), "float32"), InputSpec("b", (None,), "int64")]
    for item in (({"b": Y, "a": X[:, 0]},), ((X[:, 0], Y),)):
        for function in (lambda item=item: item, lambda item=item: iter([item])):
            readers = match([InputCollection(None, data(function))], specs)
            np.testing.assert_array_equal(readers["a"].read(0, 50), X[:, 0])
            np.testing.assert_array_equal(readers["b"].read(0, 50), Y)


def test_text() -> None:
    texts = np.array(["one", "zwei", "", "quatre ✓"])
    for function in (
        lambda: iter([texts[:3], texts[3:]]),
        lambda: tf.data.Dataset.from_tensor_slices(texts).batch(3),
    ):
        (reader,) = match([InputCollection(None, data(function))], [InputSpec("x", (None,), "string")]).values()
        assert [item.decode() for item in reader.read(0, 4)] == texts.tolist()
        assert reader.read(2, 3).tolist() == [b""]
    rows = np.array([["a", "bb"], ["ccc", ""]])
    (reader,) = match(
        [InputCollection(None, data(lambda: iter([rows])))], [InputSpec("x", (None, 2), "string")]
    ).values()
    assert reader.read(1, 2).tolist() == [[b"ccc", b""]]


class Uneven(Batches):
    """A middle batch is short."""

    def __getitem__(self, index: int) -> Any:
        return X[: 16 - (index == 1)]


class Endless(keras.utils.PyDataset):
    """As Keras lets data have no end."""

    def __getitem__(self, index: int) -> Any:
        return X[:16] + index

    @property
    def num_batches(self) -> None:
        return None


def endless() -> Iterator[Any]:
    while True:
        yield X


def fails() -> Iterator[Any]:
    yield X
    raise KeyError("label")


BAD: dict[str, tuple[Callable[..., Any], str]] = {
    "shapes": (
        lambda: iter([X, X[:, :2]]),
        r"input 0 has examples of shape \(2, 3\) in batch 1, and of \(4, 3\) in batch 0 \(pad or cut them",
    ),
    "dtypes": (lambda: iter([X, X.astype("float64")]), "input 0 is float64 in batch 1, and float32 in batch 0"),
    "arrays": (lambda: iter([(X, Y), X]), "batch 1 has other arrays than batch 0: input 0 and input 0, target 0"),
    "rows": (lambda: iter([(X, Y[:9])]), "different numbers of examples: input 0 has 50, target 0 has 9"),
    "None": (lambda: None, r"data.py:f returns None \(return arrays, a tf.data.Dataset or a keras.utils.PyDataset, or"),
    "empty": (lambda: iter([]), "data.py:f gives no batches"),
    "empty batches": (lambda: iter([X[:0], X[:0]]), r"data.py:f has no examples \(its batches are empty\)"),
    "None in a batch": (lambda: iter([None]), "data.py:f gives no batches"),
    "number": (lambda: iter([(X, 3)]), r"target 0 is a single number \(give one row per example\)"),
    "parts": (lambda: (X, X, X, X), r"gives a tuple of 4, and not \(x, y, sample_weight\)"),
    "object": (lambda: iter([object()]), "input 0 is object, and not an array of numbers or text"),
    "ragged": (
        lambda: iter([tf.ragged.constant([[1], [1, 2]])]),
        r"input 0 is a RaggedTensor \(pad it to an array: value.to_tensor\(\)\)",
    ),
    "uneven": (Uneven, r"batch 1 has 15 examples, and batch 0 has 16 \(give all batches but the last one the same"),
    "endless": (Endless, r"data.py:f has no end \(bound it: --examples 0:1000\)"),
    "endless data set": (lambda: dataset().batch(2).repeat(), r"data.py:f has no end \(bound it: --examples 0:1000\)"),
    "fails": (fails, "data.py:f failed: KeyError: it has no 'label'"),
    "fails at once": (lambda: 1 / 0, "data.py:f failed: ZeroDivisionError: division by zero"),
    "short range": (lambda start, stop: X[start : min(stop, start + 2)], "returns 2 rows for"),
    "no rows": (lambda start, stop: X[:0], r"has no examples: it returns no rows for \(0, 1\)"),
    "endless range": (lambda start, stop: np.zeros((stop - start, 4, 3)), "has no end"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_of_no_use_is_one_line(name: str) -> None:
    function, words = BAD[name]
    with pytest.raises(InputError, match=words):
        match([InputCollection(None, data(function))], SPECS)["x"].read(0, 50)


def test_what_has_no_end_can_be_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    for function in (endless, Endless, lambda: dataset().batch(9).repeat()):
        (reader,) = match([InputCollection(None, data(function, 70))], SPECS).values()
        assert reader.shape == (70, 4, 3)
        assert reader.read(60, 70).shape == (10, 4, 3)
    monkeypatch.setattr(spool, "MOST_EXAMPLES", 1000)
    with pytest.raises(InputError, match="goes on after 1,000 examples"):
        match([InputCollection(None, data(endless))], SPECS)


def test_temporary_files_leave_half_of_the_space_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "_SHARE_OF_DISK", 1 << 40)
    with pytest.raises(InputError, match=r"half of what is free in .*bound them: --examples 0:1000; or return a keras"):
        match([InputCollection(None, data(yields))], SPECS)


def test_a_range_that_ends_with_an_index_error() -> None:
    def rows(start: int, stop: int) -> Any:
        return np.stack([X[row] for row in range(start, stop)])

    (reader,) = match([InputCollection(None, data(rows))], SPECS).values()
    np.testing.assert_array_equal(reader.read(0, 50), X)


def test_a_file_is_run_once_and_only_when_needed(tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("SCALE = 2")
    file = tmp_path / "mine.py"
    file.write_text(
        "import numpy as np\nfrom beside import SCALE\nopen(__file__ + '.ran', 'a').write('x')\n\n"
        "def ones():\n    return np.ones((3, 4, 3)) * SCALE\n\n\n"
        "def wrong():\n    yield np.ones(3)\n    raise OSError('disk')\n"
    )
    first, second = (data_of_function(DataOptions(function=f"{file}:{name}")) for name in ("ones", "wrong"))
    ran = tmp_path / "mine.py.ran"
    assert not ran.exists()
    (reader,) = match([InputCollection(None, first)], SPECS).values()
    assert (reader.read(0, 3) == 2).all()
    assert dict(reader.settings) == {"function": "mine.py:ones"}
    with pytest.raises(InputError, match=r"mine.py:wrong failed in line 11: OSError: disk"):
        match([InputCollection(None, second)], [InputSpec("x", (None,), None)])
    assert ran.read_text() == "x"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("no.py:f", "no such file of --data: no.py"),
        ("data.npy", r"--data 'data.npy' is not FILE.py:FUNCTION \(for example my_data.py:batches\)"),
        ("{}:batchs", "has no function 'batchs'; near: 'batches'"),
        ("{}:SIZE", "'SIZE' in .* is an int, not a function"),
    ],
)
def test_names_of_functions(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "some_data.py"
    file.write_text("SIZE = 3\ndef batches():\n    return []\n")
    with pytest.raises(InputError, match=words):
        data_of_function(DataOptions(function=text.format(file))).names()


def test_a_file_that_fails(tmp_path: Path) -> None:
    (tmp_path / "broken_data.py").write_text("import nothing_like_it\n")
    with pytest.raises(InputError, match=r"broken_data.py failed in line 1: ModuleNotFoundError: No module named"):
        data_of_function(DataOptions(function=f"{tmp_path / 'broken_data.py'}:f")).names()
