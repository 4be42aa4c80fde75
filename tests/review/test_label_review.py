"""What is doubted first, on labels that were planted wrongly in rendered objects."""

import hashlib
import shutil

import numpy as np
import pytest

import graft
from graft.data.dataset import Example
from graft.data.split import expected_split
from graft.demo.rendered_images import rendered_images
from graft.quality.label_errors import leave_one_out
from graft.review.doubts import doubts, nearest
from graft.review.run_settings import settings_of
from graft.runs.run import Run

CLASSES = ("bowl", "mug", "vase")
EACH, WRONG = 40, 4


def digest(file):
    return hashlib.sha256(file.read_bytes()).hexdigest()


def split_of(file):
    return expected_split(42, Example("", file, ""), bytes.fromhex(digest(file)))


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """A folder of 3 classes of 40 rendered images, 4 of each in another; the classes of all, and
    those of the planted ones, by sha256.
    """
    source, folder = rendered_images().folder, tmp_path_factory.mktemp("planted") / "photos"
    truth, wrong = {}, {}
    for name, other in zip(CLASSES, (*CLASSES[1:], CLASSES[0]), strict=True):
        files = sorted((source / name).iterdir())[:EACH]
        files.sort(key=lambda file: split_of(file) != "test")  # stable; of test two are planted
        tested = [file for file in files if split_of(file) == "test"]
        for number, file in enumerate([*tested[:2], *files[len(tested) :], *tested[2:]]):
            label = other if number < WRONG else name
            (folder / label).mkdir(parents=True, exist_ok=True)
            shutil.copy(file, folder / label / f"{name}-{file.name}")
            truth[digest(file)] = name
            if label != name:
                wrong[digest(file)] = name
    return folder, truth, wrong


@pytest.fixture(scope="module")
def review(planted):
    return graft.review_labels(planted[0])


@pytest.mark.slow
def test_planted_wrong_labels_are_at_the_top_of_the_list(review, planted):
    _, truth, wrong = planted
    listed, blind = review.suspects()
    assert len(wrong) == 12
    ours = [one for one in listed if one.sha256 in wrong]
    top = listed[: len(ours) + 2]
    assert sum(one.sha256 in wrong for one in top) >= 0.9 * len(ours)
    assert all(one.suggested == truth[one.sha256] for one in ours)
    found = {one.sha256 for one in [*listed, *blind]} & set(wrong)
    assert len(found) >= 0.8 * len(wrong)
    assert all(len(one.beside) == 4 for one in listed if one.kind == "label_error")
    for one in listed:
        for other in one.beside if one.kind == "label_error" else ():
            assert review.splits[other] == "train" != ""
            assert other != one.sha256


@pytest.mark.slow
def test_test_images_are_apart_blind_and_half_of_them_undoubted(review):
    listed, blind = review.suspects()
    assert {one.split for one in blind} == {"test"}
    assert "test" not in {one.split for one in listed}
    assert {(one.suggested, one.gain, one.beside) for one in blind} == {("", None, ())}
    features = review.refit.table.features(range(len(review.rows)))
    labels = review.refit.split.labels
    scores, _ = leave_one_out(features, labels, 3)
    row = {d: i for i, d in enumerate(review.digests)}
    disputed = [scores[row[one.sha256]].argmax() != labels[row[one.sha256]] for one in blind]
    assert sum(disputed) == len(blind) / 2


@pytest.mark.slow
def test_what_is_decided_is_not_asked_again_and_moves_the_accuracy_for_a_reason_that_is_named(
    review, planted
):
    _, truth, _ = planted
    listed, blind = review.suspects()
    plain = review.effect({})
    assert plain.accuracy == plain.before
    assert (plain.from_training, plain.from_test, plain.hidden_low) == (0, 0, None)
    trained = {one.sha256: truth[one.sha256] for one in listed}
    first = review.effect(trained)
    assert first.from_test == 0
    assert first.tested == 0 < first.trained
    assert first.accuracy == pytest.approx(first.before + first.from_training)
    every = trained | {one.sha256: truth[one.sha256] for one in blind}
    both = review.effect(every)
    assert both.accuracy == pytest.approx(both.before + both.from_training + both.from_test)
    assert both.from_training == pytest.approx(first.from_training), "the same fit"
    assert both.tested >= 2
    assert both.from_test > 0
    assert both.undoubted >= len(blind) / 2 - 1
    again = {one.sha256 for part in review.suspects(every) for one in part}
    assert not again & set(every)


@pytest.mark.slow
def test_an_image_that_is_left_out_of_test_is_not_counted(review):
    test = next(d for d, split in review.splits.items() if split == "test")
    assert review.effect({test: ""}).n == review.effect({}).n - 1


def test_doubts_are_ordered_by_what_a_look_is_expected_to_mend():
    """By an independent reckoning of the same scores."""

    class InMemory:
        def __init__(self, x):
            self.x, self.shape, self.dtype = x, x.shape[1:], x.dtype

        def __len__(self):
            return len(self.x)

        def __getitem__(self, rows):
            return self.x[rows]

    random = np.random.default_rng(0)
    truth = np.arange(120) % 3
    centers = random.normal(0, 3, (3, 10))
    features = (centers[truth] + random.normal(0, 1, (120, 10))).astype(np.float16)
    labels = truth.copy()
    labels[[0, 3, 6, 9]] = 1  # of class 0, and one of class 2
    labels[2] = 0
    stored = InMemory(features)
    found = doubts(stored, labels, 3, np.ones(120, bool))
    assert found.rows[:5].tolist()[-1] == 2, "the larger group first"
    assert set(found.rows[:5].tolist()) == {0, 2, 3, 6, 9}
    assert found.suggested[:5].tolist() == [0, 0, 0, 0, 2]
    assert (np.diff(found.gain[:4]) <= 0).all()
    assert found.sure[:5].all()
    likely = found.gain[:5] >= 0.9
    assert likely.tolist() == sorted(likely, reverse=True), "the surest first, of any pair"
    closed = np.ones(120, bool)
    closed[0] = False
    assert 0 not in doubts(stored, labels, 3, closed).rows
    near = nearest(stored, [0, 5], np.arange(3, 120), 4)
    x = features.astype(np.float64)
    x = (x - x.mean(0)) / (x.std(0) + 1e-3)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    for row, mine in zip((0, 5), near, strict=True):
        alike = x @ x[row]
        order = [int(i) for i in np.argsort(-alike) if i >= 3 and i != row]
        assert set(mine) == set(order[:4])


def test_a_run_is_reviewed_by_its_own_split_and_fed_as_it_was(tmp_path):
    run = Run(tmp_path)
    run.__dict__["config"] = {
        "source": "photos",
        "resolved": {
            "model": "tf_efficientnet_lite0",
            "unfreeze": "none",
            "image_size": 160,
            "resize": "squash",
            "seed": 7,
            "group_by": "folder",
            "epochs": 20,
        },
    }
    assert settings_of(run) == {
        "model": "tf_efficientnet_lite0",
        "image_size": 160,
        "resize": "squash",
        "seed": 7,
        "group_by": "folder",
    }
    run.config["resolved"] |= {"model": "base_cnn"}
    assert settings_of(run) == {"seed": 7, "group_by": "folder"}
