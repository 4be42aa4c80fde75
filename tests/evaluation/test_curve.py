import numpy as np
import pytest
from scipy.stats import fisher_exact

from graft.evaluation.curve import fit_curve
from graft.evaluation.slices import worst_slices

SIZES = np.repeat([100.0, 200, 400, 800, 1600], 3)


@pytest.mark.parametrize(("floor", "scale", "exponent"), [(0.0, 1.0, 0.4), (0.03, 2.0, 0.6)])
def test_the_band_holds_what_twice_the_pictures_bring(floor, scale, exponent):
    held = 0
    for seed in range(40):
        random = np.random.default_rng(seed)
        errors = random.binomial(500, floor + scale * SIZES**-exponent) / 500
        ahead = fit_curve(SIZES, errors, 500, seed)["ahead"][0]
        truth = 1 - floor - scale * 3200**-exponent
        assert ahead["pictures"] == 3200
        held += ahead["low"] <= truth <= ahead["high"]
    assert held >= 34  # of 40 at 95 %: fewer has a chance below 1 in 1,000


def test_a_curve_without_a_fall_promises_nothing():
    found = fit_curve(SIZES, np.full(15, 0.2), 400)
    assert found["ahead"][1]["accuracy"] == pytest.approx(0.8, abs=0.01)


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


def test_equal_values_and_few_pictures_make_no_slice():
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
