"""What a process shares is put back: what this thread drew and counted, and nothing of other threads."""

import random
import threading

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras.src.backend.common import global_state

from tfdump.model.training.global_state import surroundings_untouched

pytestmark = pytest.mark.tensorflow


def drawn() -> list[float]:
    """The next numbers of every generator."""
    return [random.random(), np.random.random(), float(tf.random.uniform(())), float(keras.random.uniform(()))]


@pytest.fixture
def seeded() -> None:
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(11)


def test_what_is_drawn_and_counted_inside_is_not_missed_outside(seeded: None) -> None:
    with surroundings_untouched(python=True, eager=True):
        drawn()
        random.shuffle([1, 2, 3])
        np.random.normal(size=3)
        assert keras.layers.Dense(1).name == "dense"
    assert keras.layers.Dense(1).name == "dense"
    after = drawn()
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(11)
    keras.layers.Dense(1)
    assert after == drawn()


def test_an_error_inside_leaves_nothing_replaced(seeded: None) -> None:
    before = np.random.normal, random.random, random.getstate()
    with pytest.raises(ZeroDivisionError), surroundings_untouched(python=True, eager=True):
        np.random.normal(random.random() / 0)
    assert (np.random.normal, random.random, random.getstate()) == before


def test_what_another_thread_draws_stays_drawn(seeded: None) -> None:
    def other() -> None:
        random.random()
        np.random.random()

    with surroundings_untouched(python=True, eager=False):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    after = random.random(), np.random.random()
    keras.utils.set_random_seed(11)
    other()
    assert after == (random.random(), np.random.random())


def test_the_global_generator_of_keras_stays_the_one_it_was_or_none(seeded: None) -> None:
    with surroundings_untouched(python=False, eager=False):
        keras.random.uniform(())
    assert global_state.get_global_attribute("global_seed_generator") is None
    keras.random.uniform(())
    generator = global_state.get_global_attribute("global_seed_generator")
    with surroundings_untouched(python=False, eager=False):
        pass
    assert global_state.get_global_attribute("global_seed_generator") is generator
