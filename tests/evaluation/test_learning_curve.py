import numpy as np
import pytest
from scipy.stats import fisher_exact, norm

from graft.evaluation.intervals import wilson
from graft.evaluation.learning_curve import fit_curve, next_classes, resampled
from graft.evaluation.slices import worst_slices

TRIES = (4, 4, 3, 2, 1)
SIZES = np.repeat([100.0, 200, 400, 800, 1600], TRIES)


def simulated(seed, floor, scale, exponent, n, group, shared):
    """Which of n images each fit names rightly: a group's images are difficult together, for
    all fits, to the share `shared` of what decides.
    """
    random = np.random.default_rng(seed)
    units = np.arange(n) // group
    difficulty = random.standard_normal(units.max() + 1)[units]
    luck = random.standard_normal((len(SIZES), n))
    ease = np.sqrt(shared) * difficulty + np.sqrt(1 - shared) * luck
    error = floor + scale * SIZES**-exponent
    return (ease > norm.ppf(error)[:, np.newaxis]).astype(float), units


@pytest.mark.parametrize(
    ("floor", "scale", "exponent", "group", "runs"),
    [
        (0.02, 2.0, 0.6, 3, 20),
        pytest.param(0.0, 1.0, 0.4, 1, 60, marks=pytest.mark.slow),
        pytest.param(0.02, 2.0, 0.6, 3, 60, marks=pytest.mark.slow),
    ],
)
def test_the_band_holds_the_truth_where_fits_err_on_the_same_images(
    floor, scale, exponent, group, runs
):
    held, ahead = [], []
    for seed in range(runs):
        right, units = simulated(seed, floor, scale, exponent, 300, group, 0.85)
        found = fit_curve(SIZES, right, units, seed)
        rows = found["fitted"] + found["ahead"]
        assert [row["images"] for row in rows] == [100, 200, 400, 800, 1600, 3200, 6400]
        truths = [1 - floor - scale * row["images"] ** -exponent for row in rows]
        inside = [row["low"] <= t <= row["high"] for row, t in zip(rows, truths, strict=True)]
        held.append(np.mean(inside[:5]))
        ahead.append(inside[5])
    assert 0.9 <= np.mean(held) <= (0.99 if runs > 20 else 1)  # 20 are too few to tell
    assert np.mean(ahead) >= 0.85


def test_no_band_is_narrower_than_the_interval_of_a_measured_accuracy():
    for seed in range(5):
        right, units = simulated(seed, 0.0, 1.0, 0.4, 450, 1, 0.0)
        found = fit_curve(SIZES, right, units)
        for row in found["fitted"] + found["ahead"]:
            low, high = wilson(round(450 * row["accuracy"]), 450)
            assert row["low"] <= low < high <= row["high"]


def test_twenty_images_that_are_all_right_promise_no_certainty():
    found = fit_curve(SIZES, np.ones((14, 20)), np.arange(20))
    for row in found["fitted"] + found["ahead"]:
        assert row["accuracy"] == 1
        assert row["low"] <= wilson(20, 20)[0] < 0.85


def test_images_of_few_groups_make_the_band_wide():
    right, units = simulated(1, 0.0, 1.0, 0.4, 400, 40, 0.9)
    tied, alone = (fit_curve(SIZES, right, u)["fitted"][-1] for u in (units, np.arange(400)))
    assert tied["high"] - tied["low"] > 1.5 * (alone["high"] - alone["low"])


def test_a_curve_without_a_fall_promises_nothing():
    right = np.tile(np.arange(400) % 5 > 0, (14, 1)).astype(float)
    ahead = fit_curve(SIZES, right, np.arange(400))["ahead"][1]
    assert ahead["accuracy"] == pytest.approx(0.8, abs=0.01)
    assert ahead["gain"]["high"] < 0.02


def test_fits_tested_on_the_same_images_move_together_and_others_do_not():
    right = np.full((3, 600), np.nan)
    right[:2, :300] = np.arange(300) % 4 > 0
    right[2, 300:] = np.arange(300) % 4 > 0
    draws = resampled(right, np.arange(600))
    same, other = np.corrcoef(draws.T)[0, 1:]
    assert same == pytest.approx(1)
    assert abs(other) < 0.2
    assert np.quantile(draws, (0.025, 0.975)) == pytest.approx(wilson(225, 300), abs=0.01)


def test_the_class_that_gains_is_photographed_next():
    sizes = np.array([10, 20, 40])
    labels = np.repeat([0, 1, 3], 20)
    right = np.ones((3, 60))
    right[:, 20:25] = 0  # class 1: 75 % and no gain
    right[:2, 40:60] = 0  # class 3: from 0 to 70 %
    right[2, 40:46] = 0
    rows = next_classes(sizes, right, labels, np.arange(60), ["a", "b", "untested", "d"])
    assert [row["class"] for row in rows] == ["d", "b", "a"]
    first = rows[0]
    assert (first["n"], first["recall"], first["gained"]) == (20, 0.7, 0.7)
    assert first["low"] <= wilson(14, 20)[0] < wilson(14, 20)[1] <= first["high"]


def sliced(right, numbers, names=None):
    paths = [f"{i}.jpg" for i in range(len(right))]
    return worst_slices(right, paths, numbers, {k: list(v) for k, v in (names or {}).items()})


def test_a_slice_that_is_worse_is_told_and_chance_is_not():
    random = np.random.default_rng(0)
    dark = random.random(600)
    right = random.random(600) < np.where(dark < 1 / 3, 0.6, 0.95)
    rows = sliced(right, {"brightness": dark, "size": random.random(600)})
    assert [(row["quantity"], row["value"]) for row in rows if row["worse"]] == [
        ("brightness", "lowest third")
    ]
    first = rows[0]
    inside = dark <= np.quantile(dark, 1 / 3)
    table = [
        [right[inside].sum(), (~right[inside]).sum()],
        [right[~inside].sum(), (~right[~inside]).sum()],
    ]
    assert first["p"] == pytest.approx(fisher_exact(table, alternative="less").pvalue)
    assert first["accuracy"] == pytest.approx(right[inside].mean())


def test_chance_alone_rarely_makes_a_worse_slice():
    told = 0
    for seed in range(200):
        random = np.random.default_rng(seed)
        right = random.random(300) < 0.9
        rows = sliced(right, {name: random.random(300) for name in "abc"})
        told += any(row["worse"] for row in rows)
    assert told <= 20  # of 200 at a risk of 5 %


def test_equal_values_and_few_images_make_no_slice():
    assert sliced(np.ones(100, bool), {"size": np.ones(100), "date": np.full(100, np.nan)}) == []
    assert sliced(np.ones(30, bool), {"size": np.arange(30.0)}) == []


def test_a_bad_camera_is_told_with_its_mistakes_and_unknown_values_are_in_no_slice():
    random = np.random.default_rng(1)
    camera = [*["Nikon"] * 60, *["Canon"] * 200, *[None] * 100]
    right = random.random(360) < np.repeat([0.5, 0.95, 0.95], [60, 200, 100])
    date = np.where(np.arange(360) < 200, np.arange(360.0), np.nan)
    rows = sliced(right, {"date": date}, {"camera": camera, "one of a kind": map(str, range(360))})
    worst = rows[0]
    assert (worst["quantity"], worst["value"], worst["n"]) == ("camera", "Nikon", 60)
    assert worst["worse"]
    assert set(worst["mistakes"]) <= {f"{i}.jpg" for i in np.flatnonzero(~right[:60])}
    assert len(worst["mistakes"]) == 6
    assert {(row["quantity"], row["n"]) for row in rows} == {
        ("camera", 60),
        ("camera", 200),
        ("date", 67),
    }
