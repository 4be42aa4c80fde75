"""The choice and its honesty, on made-up answers whose truth is known."""

import numpy as np
import pytest

from graft.evaluation.paired_tests import sign_flip
from graft.tuning.choice import average_members, by_unit, choose, corrected_p, optimism


def answers(random, accuracies, images=600):
    """Who is right: trials that mostly agree, as classifiers of the same images do."""
    hard = random.random(images)
    noise = 0.15 * random.random((len(accuracies), images))
    return (hard * 0.85 + noise < np.array(accuracies)[:, None]).astype(float)


def counted(right):
    return by_unit(right, np.arange(right.shape[1]))


def test_the_simplest_within_one_standard_error_is_chosen_and_not_the_best():
    right = answers(np.random.default_rng(0), [0.70, 0.80, 0.801, 0.60])
    found = choose(*counted(right), order=[1, 0, 2, 3])
    assert found.accuracy[found.best] == right.mean(1).max()
    assert found.simplest == 1
    assert choose(*counted(right), order=[0, 3, 2, 1]).simplest in (1, 2), "0 and 3 are far behind"


def test_a_trial_of_some_folds_is_compared_on_the_images_of_these():
    random = np.random.default_rng(1)
    right = answers(random, [0.7, 0.75])
    hard = right[0] == 0
    partial = np.where(hard, right[1], np.nan)  # tested on the hard images alone
    found = choose(*counted(np.stack([right[0], partial])), order=[0, 1])
    expected = right[0].mean() + np.nanmean(partial) - right[0][hard].mean()
    assert found.accuracy[1] == pytest.approx(expected)
    assert found.accuracy[1] > found.accuracy[0], "its plain accuracy is far lower"


def test_groups_count_and_not_their_images():
    right = answers(np.random.default_rng(2), [0.7, 0.73], 400)
    alone = choose(*counted(right), order=[0, 1]).error
    copies = np.repeat(right, 9, 1)
    grouped = choose(*by_unit(copies, np.repeat(np.arange(400), 9)), order=[0, 1]).error
    assert grouped == pytest.approx(alone)
    assert choose(*counted(copies), order=[0, 1]).error == pytest.approx(alone / 3, rel=0.01)


def test_the_optimism_of_the_best_of_many_is_what_simulations_show():
    random = np.random.default_rng(3)
    told, true = [], []
    for repeat in range(8):
        skill = random.normal(0.8, 0.004, 30)
        right = (random.random((30, 300)) < skill[:, None]).astype(float)
        best = right.mean(1).argmax()
        true.append(right[best].mean() - skill[best])
        told.append(optimism(*counted(right), list(range(30)), repeat)["best"])
    assert np.mean(true) > 0.03, "thirty equals: the luckiest looks three points better"
    assert np.mean(told) == pytest.approx(np.mean(true), rel=0.35)


def test_a_single_trial_has_no_optimism():
    right = answers(np.random.default_rng(4), [0.8])
    assert optimism(*counted(right), [0], 0)["best"] == 0.0


def test_the_corrected_p_of_one_trial_is_that_of_sign_flips():
    right = answers(np.random.default_rng(5), [0.75, 0.78], 300)
    exact = sign_flip((right[1] - right[0]).astype(int))
    assert corrected_p(*counted(right), 1, 0) == pytest.approx(exact, abs=0.02)


def test_copies_of_a_trial_need_no_correction_and_strangers_do():
    random = np.random.default_rng(6)
    first, better = answers(random, [0.75, 0.785], 400)
    copies = np.stack([first, *[better] * 30])
    one = corrected_p(*counted(copies[:2]), 1, 0)
    assert corrected_p(*counted(copies), 1, 0) == pytest.approx(one, abs=0.02)
    strangers = (random.random((30, 400)) < 0.75).astype(float)
    assert corrected_p(*counted(np.stack([first, better, *strangers])), 1, 0) > one


def test_none_of_many_equals_is_called_better():
    random, called = np.random.default_rng(7), 0
    for _ in range(40):
        right = (random.random((20, 200)) < 0.8).astype(float)
        best = 1 + int(right[1:].mean(1).argmax())
        called += corrected_p(*counted(right), best, 0) < 0.05
    assert called <= 6, "one in twenty, and chance"


def test_an_average_takes_what_complements_and_leaves_what_harms():
    random = np.random.default_rng(8)
    labels = random.integers(0, 2, 400)
    sign = (2 * labels - 1)[:, None] * np.array([-1, 1])
    good = [sign + random.normal(0, 2.5, (400, 2)) for _ in range(3)]
    bad = -4.0 * sign
    chosen = average_members([x.astype(np.float32) for x in (*good, bad)], labels, 0)
    assert set(chosen) == {0, 1, 2}
