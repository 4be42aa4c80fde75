"""Features that do not fit in memory: every image once an epoch, in blocks as on disk."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graft.features.activations import Activations
from graft.features.blocks import statistics
from graft.training.batches import batch_rows, steps_of
from graft.training.block_shuffle import BlockShuffle, in_memory, on_disk


def activations(count, seed=0, files=3):
    """Rows that lie in files in another order; row i has the feature i."""
    random = np.random.default_rng(seed)
    file = random.integers(0, files, count).astype(np.int32)
    row = np.zeros(count, np.int64)
    maps = []
    for number in range(files):
        own = random.permutation(np.flatnonzero(file == number))
        row[own] = np.arange(len(own))
        maps.append(own.astype(np.float16)[:, np.newaxis])
    return Activations(maps, file, row, (1,), np.float16)


def shuffle(count, batch, block, pool, seed=1, **more):
    view, labels = activations(count), np.arange(count) % 3
    order = view.order_on_disk()
    return BlockShuffle([view], labels, order, batch, seed, pool, block, **more)


SIZES = st.tuples(st.integers(3, 200), st.integers(2, 40), st.integers(1, 20), st.integers(1, 100))


@settings(deadline=None, max_examples=100)
@given(SIZES, st.integers(1, 3))
def test_an_epoch_has_every_image_once_in_as_many_batches_as_ever(sizes, epoch):
    count, batch, block, pool = sizes
    found = list(shuffle(count, batch, block, pool).batches(epoch))
    labels = np.arange(count) % 3
    assert [len(y) for _, y in found] == [len(r) for r in batch_rows(labels, batch, 1, epoch)]
    assert len(found) == steps_of(count, batch)
    images = np.concatenate([x[:, 0] for x, _ in found]).astype(int)
    assert sorted(images) == list(range(count))
    assert np.array_equal(np.concatenate([y for _, y in found]), labels[images])


@settings(deadline=None, max_examples=60)
@given(SIZES, st.data())
def test_an_epoch_resumes_at_any_batch(sizes, data):
    blocks = shuffle(*sizes)
    whole = list(blocks.batches(2))
    start = data.draw(st.integers(0, len(whole) - 1))
    for one, other in zip(whole[start:], blocks.batches(2, start), strict=True):
        assert np.array_equal(one[0], other[0])
        assert np.array_equal(one[1], other[1])


def test_epochs_and_seeds_have_orders_of_their_own():
    def order(seed, epoch):
        found = shuffle(100, 10, 4, 20, seed).batches(epoch)
        return np.concatenate([x[:, 0] for x, _ in found]).tolist()

    assert order(1, 1) == order(1, 1)
    assert len({tuple(order(seed, epoch)) for seed in (1, 2) for epoch in (1, 2)}) == 4


def test_a_pool_mixes_what_lies_in_different_places():
    near = list(shuffle(1000, 50, 50, 50).batches(1))
    mixed = list(shuffle(1000, 50, 5, 500).batches(1))
    place = np.empty(1000, int)
    place[activations(1000).order_on_disk()] = np.arange(1000)

    def spread(batches):
        return np.mean([np.std(place[x[:, 0].astype(int)]) for x, _ in batches])

    assert spread(near) < 30
    assert spread(mixed) > 200


def test_a_balanced_epoch_draws_every_class_equally_often():
    view = activations(2000)
    labels = (np.arange(2000) >= 1900).astype(np.int64)
    blocks = BlockShuffle([view], labels, view.order_on_disk(), 64, 0, 256, 16, balanced=True)
    drawn = Counter(np.concatenate([y for _, y in blocks.batches(1)]).tolist())
    assert drawn.total() == 2000
    assert drawn[1] == pytest.approx(1000, abs=100)


def test_all_is_read_once_in_the_order_of_the_disk():
    view, labels = activations(100), np.arange(100)
    x = np.concatenate([x for x, _ in on_disk(view, labels, 7)])
    assert np.array_equal(x[:, 0].astype(int), view.order_on_disk())
    for one, other in zip(statistics(view), statistics(view, on_disk=True), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


def test_small_features_are_drawn_from_memory():
    assert in_memory([activations(100)])
