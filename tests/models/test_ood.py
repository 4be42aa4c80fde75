import numpy as np
import pytest

from graft.models.ood import REFUSED, expected_refusals, fit_ood_detector


def drawn(seed, count):
    return np.random.default_rng(seed).normal(0, 1, (count, 16)).astype(np.float16)


@pytest.mark.parametrize("count", [10, 38, 39, 40, 200])
def test_the_limit_is_a_conformal_rank_of_the_validation_scores(count):
    ood_score = fit_ood_detector(drawn(0, 200), drawn(1, count), seed=0)
    beyond = int((ood_score.score(drawn(1, count)) > 1).sum())
    # The new image is one of count + 1 equally likely ranks.
    assert (beyond + 1) / (count + 1) == pytest.approx(expected_refusals(count))
    assert ood_score.score(drawn(1, count)).max() == pytest.approx(1) or beyond > 0


def test_too_few_validation_images_for_the_rank_set_the_limit_at_the_largest_score():
    assert expected_refusals(10) == pytest.approx(1 / 11)
    assert expected_refusals(38) == pytest.approx(1 / 39)
    assert expected_refusals(39) == pytest.approx(REFUSED)


@pytest.mark.parametrize("count", [39, 40, 41, 79, 500, 3999])
def test_enough_validation_images_refuse_no_more_than_meant(count):
    assert REFUSED - 1 / (count + 1) < expected_refusals(count) <= REFUSED + 1e-12


def test_as_many_images_are_refused_as_expected():
    train = drawn(0, 200)
    refused = [
        (fit_ood_detector(train, drawn(seed, 40), 0).score(drawn(1000 + seed, 50)) > 1).mean()
        for seed in range(60)
    ]
    error = np.std(refused) / len(refused) ** 0.5
    assert np.mean(refused) == pytest.approx(expected_refusals(40), abs=3.5 * error)
