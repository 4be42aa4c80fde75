import numpy as np
import torch
from sklearn.linear_model import Ridge

from graft.review.drop_query import DROPPED, PASSES, PENALTY, drop_query, in_words, ridge, simulate


def blobs(count, classes=3, width=40, seed=0, spread=1.0):
    random = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    centers = random.normal(0, 1, (classes, width))
    x = centers[labels] + random.normal(0, spread, (count, width))
    return ((x - x.mean(0)) / x.std(0)).astype(np.float32), labels


def test_the_ridge_is_that_of_scikit_learn():
    x, labels = blobs(50)
    mine = ridge(x, labels, 3)(torch.from_numpy(x)).numpy()
    wanted = np.eye(3)[labels]
    model = Ridge(alpha=PENALTY * 50, fit_intercept=False).fit(x, wanted - wanted.mean(0))
    assert np.allclose(mine, model.predict(x) + wanted.mean(0), atol=1e-4)


def test_candidates_are_those_whose_label_changes_in_most_passes():
    x, labels = blobs(300, spread=2.0)
    scores = ridge(x[:30], labels[:30], 3)
    chosen = drop_query(x, scores, 12, seed=3)
    assert len(set(chosen.rows.tolist())) == 12
    # The same draws by hand, an image and a pass at a time.
    random = torch.Generator().manual_seed(3)
    masks = [torch.rand(x.shape, generator=random) >= DROPPED for _ in range(PASSES)]
    plain = scores(torch.from_numpy(x)).argmax(1)
    flips = np.zeros(len(x), int)
    for row in range(len(x)):
        for mask in masks:
            seen = torch.from_numpy(x[row]) * mask[row] * 4
            flips[row] += int(scores(seen[None]).argmax()) != int(plain[row])
    assert (flips[chosen.rows] == chosen.flips).all()
    assert (chosen.flips >= 2).all()
    assert (flips >= 2).sum() > 12


def test_no_two_of_those_chosen_are_copies_while_others_are_left():
    x, labels = blobs(60, spread=2.0)
    twice = np.concatenate([x, x])
    scores = ridge(x[:12], labels[:12], 3)
    chosen = drop_query(twice, scores, 10, seed=1).rows
    assert len({int(row) % 60 for row in chosen}) >= 9


def test_where_few_are_doubtful_all_of_them_are_chosen_and_others_fill_up():
    x, labels = blobs(90, spread=0.05)
    scores = ridge(x, labels, 3)
    chosen = drop_query(x, scores, 20)
    assert len(set(chosen.rows.tolist())) == 20
    assert set(chosen.flips.tolist()) <= {0, 1, 2, 3}
    assert len(drop_query(x[:5], scores, 20).rows) == 5


def test_the_simulation_compares_equal_numbers_of_labels_and_is_the_same_each_time():
    x, labels = blobs(300, spread=2.5)
    found = simulate(x[:200], labels[:200], x[200:], labels[200:], 3, 10)
    assert found["labels"] == [6, 16, 26, 36, 46, 56, 66]
    assert found["drop_query"][0] == found["random"][0], "both begin with the same labels"
    assert found["random"][-1] > found["random"][0] + 0.1
    assert found["low"] <= found["difference"] <= found["high"]
    assert simulate(x[:200], labels[:200], x[200:], labels[200:], 3, 10) == found


def test_the_verdict_follows_the_interval():
    curve = {"labels": [6, 56], "drop_query": [0.5, 0.9], "random": [0.5, 0.8]}
    said = in_words(curve | {"difference": 0.05, "low": 0.01, "high": 0.09})
    assert "this choice is better" in said
    assert "at 56 labels 90.0% against 80.0%" in said
    assert "no clear" in in_words(curve | {"difference": 0.05, "low": -0.01, "high": 0.09})
    assert "at random" in in_words(curve | {"difference": -0.05, "low": -0.09, "high": -0.01})
