"""One predictor used from processes, event loops and scikit-learn: the answers of one alone."""

import asyncio
import copy
import multiprocessing
import os
import pickle
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, top_k_accuracy_score
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from torch.utils.data import DataLoader, Dataset

import graft as package
from graft.errors import UsageError
from graft.inference.policy import Policy


@pytest.fixture(scope="module")
def files(digits):
    return sorted(digits.rglob("*.png"))[::9]


@pytest.fixture(scope="module", params=["auto", "torch"])
def used(frozen_run, files, request):
    predictor = package.load(frozen_run, request.param)
    predictor.predict(files[0])
    predictor.predict(files)
    return predictor


class Asked(Dataset):
    """What a predictor says of files, as a dataset."""

    def __init__(self, predictor, files):
        self.predictor, self.files = predictor, files

    def __len__(self):
        return len(self.files)

    def __getitem__(self, place):
        return list(self.predictor.predict(self.files[place]).probabilities.values())


def check_data_loader(used, files, way):
    loader = DataLoader(
        Asked(used, files),
        batch_size=None,
        num_workers=1,
        timeout=120,
        multiprocessing_context=way,
        collate_fn=np.array,
    )
    found = list(loader)
    expected = [list(used.predict(file).probabilities.values()) for file in files]
    assert np.array(found) == pytest.approx(np.array(expected), abs=1e-6)


def check_plain_fork(used, files):
    expected = used.predict(files[1])
    receive, send = multiprocessing.Pipe(duplex=False)
    child = os.fork()
    if not child:
        try:
            send.send((used.predict(files[1]), len(used.predict(files))))
        finally:
            os._exit(0)
    try:
        assert receive.poll(120), "the child hangs"
        found, count = receive.recv()
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)
    assert found.probabilities == pytest.approx(expected.probabilities, abs=1e-6)
    assert count == len(files)
    assert used.predict(files[1]) == expected, "the parent goes on"


@pytest.mark.parametrize("backend", ["auto", "torch"])
def test_children_of_a_predictor_in_use_answer_as_it_does(frozen_run, files, backend):
    """In a process of its own, as a user's would be: this one holds what hundreds of tests left."""
    asked = [sys.executable, __file__, frozen_run, backend, *files]
    done = subprocess.run([*map(str, asked)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def test_a_predictor_in_use_can_be_pickled_and_copied(used, files):
    used.policy = Policy(nearest=2)
    used.predict(files[0])
    assert used.classifier is used.classifier
    for other in (pickle.loads(pickle.dumps(used)), copy.deepcopy(used), copy.copy(used)):
        assert other.predict(files[0]) == used.predict(files[0])
    used.policy = Policy()


def test_a_closed_predictor_holds_no_backend_and_answers_again(frozen_run, files):
    with package.load(frozen_run) as predictor:
        first = predictor.predict(files[0])
        assert predictor.single.ready is not None
    assert predictor.single.ready is predictor.backend.ready is predictor.exact.ready is None
    assert predictor.predict(files[0]) == first


def test_an_event_loop_goes_on_while_images_are_predicted(used, files):
    alone = [used.predict(file) for file in files]
    beats = 0

    async def beat():
        nonlocal beats
        while True:
            await asyncio.sleep(0.001)
            beats += 1

    async def all_at_once():
        task = asyncio.create_task(beat())
        found = await asyncio.gather(*map(used.predict_async, files))
        task.cancel()
        return found

    assert asyncio.run(all_at_once()) == alone
    assert beats


def test_a_batch_is_answered_lazily_from_a_list_an_iterator_a_folder_and_pixels(
    used, files, digits
):
    alone = [used.predict(file).probabilities for file in files]
    pixels = np.stack([np.array(Image.open(file).convert("RGB")) for file in files])
    encoded = [file.read_bytes() for file in files]
    for asked in (files, iter(files), encoded, pixels, torch.from_numpy(pixels)):
        found = list(used.predict_batch(asked))
        assert [f.best_guess for f in found] == [max(p, key=p.get) for p in alone]
        for answer, expected in zip(found, alone, strict=True):
            assert answer.probabilities == pytest.approx(expected, abs=1e-3)
    found = list(used.predict_batch(digits / "1"))
    assert [f.path for f in found] == [str(f) for f in sorted((digits / "1").iterdir())]
    asked = []
    endless = (asked.append(1) or file for file in iter(lambda: files[0], None))
    next(used.predict_batch(endless))
    assert len(asked) < 200
    assert list(used.predict_batch([])) == []


def test_scikit_learn_takes_a_predictor_for_a_classifier_and_a_transformer(used, files, digits):
    labels = np.array([file.parent.name for file in files])
    shares = used.predict_proba(files)
    assert shares.shape == (len(files), 3)
    assert shares.sum(1) == pytest.approx(1)
    assert list(used.classes_) == list(used.classes)
    assert log_loss(labels, shares, labels=used.classes_) < 1
    assert top_k_accuracy_score(labels, shares, k=2, labels=used.classes_) > 0.8
    features = used.transform(files)
    assert (features.shape, features.dtype) == ((len(files), used.head.shape["features"]), "f4")
    assert used.transform([]).shape == (0, used.head.shape["features"])
    assert used.predict_proba([]).shape == (0, 3)
    pipeline = make_pipeline(used, LogisticRegression())
    assert pipeline.fit(files, labels).score(files, labels) > 0.8
    scores = cross_val_score(pipeline, files, labels, cv=3)
    assert len(scores) == 3
    alone = cross_val_score(used, files, labels, cv=3, scoring="neg_log_loss")
    assert np.isfinite(alone).all()


def test_a_prediction_that_scikit_learn_would_take_for_a_label_is_none(used, files):
    # What is not supported: `predict` gives Predictions, not the labels that scorers compare.
    assert not isinstance(used.predict(files)[0], str)
    with pytest.raises(UsageError, match="expected several images"):
        used.predict_proba(Image.new("RGB", (8, 8)))


def test_one_image_takes_no_longer_than_the_bare_network_and_reading_it(frozen_run, files):
    predictor = package.load(frozen_run)
    predictor.predict(files[0])
    backend = predictor.single()
    pixels = np.zeros((1, *predictor.classifier.encoder.input_shape), np.uint8)
    ours, bare = [], []
    for file in files * 4:
        start = time.perf_counter()
        predictor.predict(file)
        ours.append(time.perf_counter() - start)
        start = time.perf_counter()
        backend.submit(pixels)()
        bare.append(time.perf_counter() - start)
    # This network takes under a millisecond, so what is left is what graft itself does for one
    # image; with a padded batch it would be ten times as much.
    assert np.median(ours) < np.median(bare) + 0.02


if __name__ == "__main__":
    run, asked_backend, *images = sys.argv[1:]
    parent = package.load(run, asked_backend)
    parent.predict(images)
    parent.predict(images[0])
    check_data_loader(parent, images, "spawn")
    if hasattr(os, "fork"):
        check_data_loader(parent, images, "fork")
        check_plain_fork(parent, images)
