import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import Ridge

from graft.data.dataset import Example
from graft.features.activations import open_store
from graft.models.ood import fit_ood_detector
from graft.quality.label_errors import (
    PENALTY,
    doubts,
    label_findings,
    leave_fold_out,
    leave_one_out,
    sampled,
)


def stored(cache: Path, features: np.ndarray):
    store = open_store(cache, "key", "view0", features.shape[1:], np.float16)
    digests = [n.to_bytes(32, "big") for n in range(len(features))]
    for digest, row in zip(digests, features, strict=True):
        store.put(digest, row)
    return store.gather(digests)


def blobs(count: int, width: int = 12, classes: int = 3, seed: int = 0):
    random = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    centers = random.normal(0, 3, (classes, width))
    features = (centers[labels] + random.normal(0, 1, (count, width))).astype(np.float16)
    return features, labels


def examples(labels):
    return [Example(f"{n}.jpg", Path(f"{n}.jpg"), str(label)) for n, label in enumerate(labels)]


def test_each_score_is_that_of_a_regression_without_the_image(tmp_path):
    features, labels = blobs(60)
    scores, odds = leave_one_out(stored(tmp_path, features), labels, 3)
    x = features.astype(np.float64)
    x = (x - x.mean(0)) / (x.std(0) + 1e-3)
    wanted = np.eye(3)[labels] - np.eye(3)[labels].mean(0)
    for row in (0, 7, 59):
        rest = np.arange(60) != row
        # The penalty and the mean are those of all images, as in the closed form; what the
        # image itself adds to the intercept, 1 / n, is all that is left between the two.
        model = Ridge(alpha=PENALTY * 60, fit_intercept=False).fit(x[rest], wanted[rest])
        alone = model.predict(x[[row]])[0] + np.eye(3)[labels].mean(0)
        assert np.allclose(scores[row], alone, atol=0.03)
    assert (odds > 0).all()
    assert (scores.argmax(1) == labels).mean() > 0.95


@pytest.mark.parametrize("folds", [2, 4, 15])  # of more images than features, and of fewer
def test_scores_of_a_fold_are_those_of_a_regression_without_it(tmp_path, folds):
    features, labels = blobs(90)
    fold = np.random.default_rng(3).permutation(90) % folds
    scores = leave_fold_out(stored(tmp_path, features), labels, 3, fold)
    x = features.astype(np.float64)
    x = (x - x.mean(0)) / (x.std(0) + 1e-3)
    for number in range(folds):
        rest = fold != number
        model = Ridge(alpha=PENALTY * 90).fit(x[rest], np.eye(3)[labels[rest]])
        assert np.allclose(scores[~rest], model.predict(x[~rest]), atol=1e-4)


def test_folds_of_one_image_each_are_leave_one_out(tmp_path):
    features, labels = blobs(60)
    rows = stored(tmp_path, features)
    alone = leave_fold_out(rows, labels, 3, np.random.default_rng(0).permutation(60))
    assert np.allclose(alone, leave_one_out(rows, labels, 3)[0], atol=1e-4)


def test_flipped_labels_are_told_and_right_ones_are_not(tmp_path):
    features, labels = blobs(300)
    given = labels.copy()
    given[[5, 100, 250]] = (given[[5, 100, 250]] + 1) % 3
    findings = label_findings(examples(given), given, ["a", "b", "c"], stored(tmp_path, features))
    assert {i.kind: set(i.paths) for i in findings} == {
        "label_error": {"5.jpg", "100.jpg", "250.jpg"}
    }


def test_a_image_unlike_all_others_is_told(tmp_path):
    features, labels = blobs(300)
    features[7] = np.random.default_rng(1).normal(0, 12, 12)
    findings = label_findings(examples(labels), labels, ["a", "b", "c"], stored(tmp_path, features))
    (finding,) = [finding for finding in findings if finding.kind != "label_error"]
    assert (finding.kind, finding.severity, finding.paths) == ("outlier", "note", ("7.jpg",))


def test_features_that_say_nothing_of_the_labels_accuse_none_and_say_so(tmp_path):
    features, _ = blobs(300)
    labels = np.random.default_rng(2).integers(0, 3, 300)
    (finding,) = label_findings(
        examples(labels), labels, ["a", "b", "c"], stored(tmp_path, features)
    )
    assert (finding.kind, finding.severity, finding.paths) == ("not_checked", "note", ())
    assert re.match("label errors were not looked for; .* only [234][0-9]% of", finding.message)


def test_a_class_too_small_to_check_is_named_and_the_others_are_checked(tmp_path):
    features, labels = blobs(300)
    labels = labels.copy()
    labels[labels == 2] = np.where(np.arange(100) < 9, 2, 3)
    few = np.flatnonzero(labels == 2)
    given = labels.copy()
    given[[4, 100]] = (given[[4, 100]] + 1) % 2  # of the first two classes
    features[[3, few[0]]] = np.random.default_rng(1).normal(0, 12, (2, 12))
    findings = label_findings(
        examples(given), given, ["a", "b", "few", "d"], stored(tmp_path, features)
    )
    found = {finding.kind: finding for finding in findings}
    assert list(found) == ["not_checked", "label_error", "outlier"]
    assert "in 1 class of fewer than 10 images ('few')" in found["not_checked"].message
    assert {"4.jpg", "100.jpg"} <= set(found["label_error"].paths)
    assert found["outlier"].paths == ("3.jpg",)
    small = {f"{n}.jpg" for n in few}
    assert not small & {path for finding in findings for path in finding.paths}


def test_classes_that_are_all_too_small_are_named_and_none_is_checked(tmp_path):
    features, labels = blobs(27)
    (finding,) = label_findings(
        examples(labels), labels, ["a", "b", "c"], stored(tmp_path, features)
    )
    assert finding.kind == "not_checked"
    assert "in 3 classes of fewer than 10 images ('a', 'b' and 'c')" in finding.message


def test_of_no_image_nothing_is_said(tmp_path):
    none = np.empty(0, np.int64)
    assert label_findings([], none, [], stored(tmp_path, np.empty((0, 12)))) == []


@pytest.mark.parametrize("count", [40, 400])
def test_strangers_lie_beyond_the_limit_and_few_others_do(count):
    random = np.random.default_rng(0)
    basis = random.normal(0, 1, (8, 64))
    known = (random.normal(0, 1, (count + 500, 8)) @ basis).astype(np.float16)
    known += random.normal(0, 0.1, known.shape).astype(np.float16)
    ood_score = fit_ood_detector(known[:count], known[count : count + 200], seed=0)
    assert (ood_score.score(known[count + 200 :]) > 1).mean() < 0.08
    strangers = random.normal(0, 2.5, (100, 64)).astype(np.float16)
    assert (ood_score.score(strangers) > 1).mean() > 0.95


def test_ood_score_is_the_same_for_the_same_seed_and_a_row_at_a_time():
    features, _ = blobs(200, width=40)
    one, other = (fit_ood_detector(features[:150], features[150:], seed=3) for _ in range(2))
    assert np.array_equal(one.score(features), other.score(features))
    alone = np.concatenate([one.score(features[i : i + 1]) for i in range(200)])
    assert np.allclose(alone, one.score(features), rtol=1e-4)


def test_doubts_are_the_leave_one_out_scores_without_all_of_them(tmp_path):
    features, labels = blobs(700)
    labels = np.where(np.arange(700) % 9 == 0, (labels + 1) % 3, labels)
    rows = stored(tmp_path, features)
    scores, odds = leave_one_out(rows, labels, 3)
    found = doubts(rows, labels, 3)
    at = np.arange(700)
    assert np.array_equal(found.own, scores[at, labels])
    assert np.array_equal(found.odds, odds)
    assert np.array_equal(found.right, scores.argmax(1) == labels)
    scores[at, labels] = -np.inf
    assert np.array_equal(found.other, scores.max(1))
    assert np.array_equal(found.rival, scores.argmax(1))


@given(st.lists(st.integers(0, 6), min_size=1, max_size=300), st.integers(7, 100))
def test_a_sample_takes_small_classes_whole_and_equally_many_of_the_others(given_labels, most):
    labels = np.array(given_labels)
    rows = sampled(labels, most)
    assert (np.diff(rows) > 0).all()
    taken, sizes = (np.bincount(x, minlength=7) for x in (labels[rows], labels))
    if len(labels) <= most:
        assert len(rows) == len(labels)
        return
    assert most - 7 < len(rows) <= most
    each = taken.max()
    assert (taken == np.minimum(sizes, each)).all()
    assert np.array_equal(rows, sampled(labels, most))


def test_of_more_images_than_are_checked_a_sample_is_and_the_message_says_so(tmp_path):
    features, labels = blobs(900)
    given_labels = labels.copy()
    flipped = np.arange(0, 900, 18)
    given_labels[flipped] = (given_labels[flipped] + 1) % 3
    findings = label_findings(
        examples(given_labels), given_labels, ["a", "b", "c"], stored(tmp_path, features), most=300
    )
    (finding,) = [finding for finding in findings if finding.kind == "label_error"]
    told = {int(path.removesuffix(".jpg")) for path in finding.paths}
    assert told <= set(flipped.tolist())
    said = re.match(
        r"(\d+) images in a sample of 300 of 900 images, so about (\d+) in all, probably labeled "
        "wrongly",
        finding.message,
    )
    assert int(said[1]) == len(told)
    assert int(said[2]) == round(3.5 * len(told))  # of 350 with the second label 100 are checked
    assert int(said[2]) == pytest.approx(50, abs=20)
