import numpy as np
import pytest

from graft.evaluation.calibration import fit_temperature
from graft.training.fine_tuning_gain import paired_gain


def test_the_gain_is_that_of_a_paired_comparison_of_calibrated_losses():
    random = np.random.default_rng(0)
    before, after = random.normal(size=(2, 50, 3)).astype(np.float32)
    labels = random.integers(0, 3, 50)
    half = np.random.default_rng(0).permutation(50) % 2

    def loss(logits, i):
        other = half != half[i]
        scores = logits[i].astype(float) / fit_temperature(logits[other], labels[other])
        return -np.log(np.exp(scores)[labels[i]] / np.exp(scores).sum())

    gains = [loss(before, i) - loss(after, i) for i in range(50)]
    mean, error = paired_gain(before, after, labels)
    assert mean == pytest.approx(np.mean(gains))
    assert error == pytest.approx(np.std(gains) / 50**0.5)


def test_a_network_that_is_merely_surer_of_itself_gains_nothing():
    random = np.random.default_rng(1)
    labels = random.integers(0, 3, 400)
    timid = random.normal(size=(400, 3)).astype(np.float32)
    timid[np.arange(400), labels] += 2
    gain, noise = paired_gain(timid / 4, timid, labels)
    assert abs(gain) <= noise * 2
    better = timid.copy()
    better[np.arange(400), labels] += 1
    gain, noise = paired_gain(timid, better, labels)
    assert gain > 2 * noise


def test_images_of_one_group_count_as_one():
    random = np.random.default_rng(2)
    before, after = random.normal(size=(2, 60, 3)).astype(np.float32)
    labels = random.integers(0, 3, 60)
    twelve = [str(i // 5) for i in range(60)]
    same = np.repeat(np.arange(0, 60, 5), 5)
    _, noise = paired_gain(before[same], after[same], labels[same], twelve)
    _, naive = paired_gain(before[same], after[same], labels[same])
    assert noise > 1.5 * naive
    assert paired_gain(before, after, labels, ["one"] * 60)[1] == np.inf
