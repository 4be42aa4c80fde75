"""Batched heads are held against scikit-learn, and against each head fitted alone."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge

from graft.features.activations import Activations
from graft.models.runtime import Runtime
from graft.training.loop import FitSettings, fit
from graft.tuning.candidate import Candidate
from graft.tuning.head_batch import HeadBatch, HeadData, batches, fit_heads, new_batch, steps
from graft.tuning.merged_head import one_head
from graft.tuning.ridge_path import SCALE, ridge_path, ridge_weights, standardized

CPU = Runtime(torch.device("cpu"), torch.float32)


@pytest.fixture(scope="module")
def clusters():
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, 240)
    centers = random.normal(0, 1.0, (3, 12))
    x = centers[labels] + random.normal(0, 1.3, (240, 12))
    return (x * random.uniform(0.5, 3, 12) + 1).astype(np.float32), labels


def data_of(clusters, first=180):
    x, labels = clusters
    train, val = Activations.of(x[:first]), Activations.of(x[first:])
    return HeadData([train], labels[:first], val, labels[first:], 3)


@pytest.mark.parametrize("count", [240, 10])
def test_the_ridge_path_is_that_of_scikit_learn_fitted_anew_for_each_fold(clusters, count):
    x, labels = clusters[0][:count], clusters[1][:count]
    scaled = standardized(torch.from_numpy(x))
    fold = np.arange(count) % 4
    strengths = [1e-3, 0.1, 10.0]
    found = ridge_path(scaled, labels, 3, fold, strengths)
    for path, strength in zip(found, strengths, strict=True):
        for number in range(4):
            held = fold == number
            other = Ridge(alpha=strength * count).fit(scaled[~held], np.eye(3)[labels[~held]])
            expected = other.predict(scaled[held]) * SCALE
            np.testing.assert_allclose(path[held], expected, atol=2e-4)


@pytest.mark.parametrize("count", [240, 10])
def test_the_weights_of_a_ridge_are_those_of_scikit_learn(clusters, count):
    x, labels = clusters[0][:count], clusters[1][:count]
    scaled = standardized(torch.from_numpy(x))
    weight, bias = ridge_weights(scaled, labels, 3, 0.05)
    other = Ridge(alpha=0.05 * count).fit(scaled, np.eye(3)[labels])
    np.testing.assert_allclose(weight / SCALE, other.coef_, atol=1e-5)
    np.testing.assert_allclose(bias / SCALE, other.intercept_, atol=1e-5)


def test_heads_fitted_to_the_end_are_logistic_regressions_of_scikit_learn(clusters):
    data = data_of(clusters, 240 - 60)
    decays = (0.3, 0.03, 0.003)
    members = tuple(
        Candidate(hidden=0, weight_decay=d, learning_rate=0.5, label_smoothing=0.0) for d in decays
    )
    model = new_batch(data, members, [0, 0, 0], 0.0, 0)
    groups = model.groups()

    def whole(epoch, start):
        yield data.views[0].whole(), np.repeat(data.labels[:, None], 3, 1)

    # SGD's decay is part of the gradient: an L2 penalty, of the intercept, too.
    settings = FitSettings(
        epochs=400,
        learning_rate=1.0,
        weight_decay=1.0,
        label_smoothing=0.0,
        patience=1000,
        seed=0,
        optimizer="sgd",
        schedule="cosine",
        max_grad_norm=0.0,
    )
    final = {}

    def keep(epoch):
        final.update({m: model.state_of(m) for m in range(3)})

    fit(model, whole, 1, lambda: iter([(data.val.whole(), data.val_labels)]), settings, CPU, keep,
        groups=groups)  # fmt: skip
    x = standardized(torch.from_numpy(data.views[0].whole())).numpy()
    with_ones = np.column_stack([x, np.ones(len(x))])
    for m, decay in enumerate(decays):
        other = LogisticRegression(
            C=1 / (len(x) * decay), fit_intercept=False, tol=1e-10, max_iter=5000
        ).fit(with_ones, data.labels)
        weight, bias = (part.numpy() for part in final[m])
        own = np.column_stack([weight, bias])
        # Softmax does not change when the same is added to all classes.
        np.testing.assert_allclose(own - own.mean(0), other.coef_ - other.coef_.mean(0), atol=2e-3)


def test_a_head_learns_among_others_what_it_learns_alone(clusters):
    data = data_of(clusters)
    members = tuple(
        Candidate(hidden=h, learning_rate=r, weight_decay=d, epochs=6)
        for h, r, d in ((8, 1e-2, 0.05), (0, 3e-3, 0.5), (8, 2e-3, 0.0), (4, 1e-2, 0.05))
    )
    columns = [0, 0, 5, 0]

    def fitted(which):
        model = new_batch(
            data, tuple(members[m] for m in which), [columns[m] for m in which], 0.0, 3
        )
        model.dropped.fraction = 0.0
        settings = FitSettings(6, 1.0, 1.0, 0.1, 100, 3, max_grad_norm=0.0)
        seen = []
        fit(
            model,
            lambda epoch, start: batches(data, len(which), epoch, start, 3),
            steps(data),
            lambda: iter([(data.val.whole(), data.val_labels)]),
            settings,
            CPU,
            lambda epoch: seen.append([model.state_of(m) for m in range(len(which))]),
            groups=model.groups(),
        )
        return seen[-1]

    all_at_once = fitted([0, 1, 2, 3])
    for m in range(4):
        for one, other in zip(all_at_once[m], fitted([m])[0], strict=True):
            torch.testing.assert_close(one, other, atol=2e-4, rtol=2e-3)


def test_each_head_is_kept_at_its_own_best_epoch_and_stops_by_its_own_patience(clusters):
    data = data_of(clusters)
    members = tuple(
        Candidate(hidden=0, learning_rate=r, patience=p, epochs=12)
        for r, p in ((0.3, 1), (1e-3, 12))
    )
    found = fit_heads(data, members, [0, 0], 0.0, 0, CPU)
    assert len(found.curves[1]) == 12
    assert len(found.curves[0]) < 12
    assert found.best[0] != found.best[1]


@pytest.mark.parametrize("hidden", [(0,), (6,), (0, 0), (6, 4), (6, 0, 4)])
def test_an_average_of_heads_is_one_ordinary_head(clusters, hidden):
    x, _ = clusters
    members = tuple(Candidate(hidden=h) for h in hidden)
    columns = [3 * (m % 2) for m in range(len(hidden))]
    model = HeadBatch(12, 3, members, columns, 0.2, 0).eval()
    mean, std = torch.from_numpy(x.mean(0)), torch.from_numpy(x.std(0))
    model.standardize(mean, std)
    states = [model.state_of(m) for m in range(len(hidden))]
    head = one_head(members, columns, states, mean, std, 0.2)
    features = torch.from_numpy(x)
    with torch.inference_mode():
        torch.testing.assert_close(head(features), model(features), atol=1e-5, rtol=1e-5)
