"""The gradient loop, against float64 loops and scikit-learn."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from graft.errors import ModelError, UsageError
from graft.evaluation.calibration import fit_temperature
from graft.features.activations import Activations
from graft.features.blocks import statistics
from graft.models.head import Head
from graft.models.runtime import Runtime
from graft.training.batches import batch_rows, in_order, jittered, shuffled, steps_of
from graft.training.loop import FitSettings, Resumable, _started, fit, logits_of, train_epoch

CPU = Runtime(torch.device("cpu"), torch.float32)
HALF = Runtime(torch.device("cpu"), torch.float16)


@pytest.fixture
def blobs():
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, 600)
    x = random.normal(size=(600, 20)) + 1.2 * np.eye(3, 20)[labels]
    return x.astype(np.float16), labels


def settings(**changes):
    values = {"epochs": 20, "learning_rate": 1e-2, "weight_decay": 0.01, "label_smoothing": 0.0}
    return FitSettings(**values | {"patience": 20, "seed": 1} | changes)


def trained(x, y, chosen, clean=None, runtime=CPU, **options):
    with torch.random.fork_rng():
        torch.manual_seed(1)
        head = Head(x.shape[1], 3, 0, 0.0, 0.0)
    head.standardize(*statistics(Activations.of((x if clean is None else clean)[:400])))
    history = fit(
        head,
        lambda epoch, start: shuffled(
            [Activations.of(x[:400])], y[:400], batch_rows(y[:400], 32, 1, epoch)[start:], epoch
        ),
        steps_of(400, 32),
        lambda: in_order(Activations.of(x[400:500]), y[400:500]),
        chosen,
        runtime,
        **options,
    )
    return head, history


def test_a_linear_head_is_about_as_good_as_logistic_regression(blobs):
    x, y = blobs
    head, _ = trained(x, y, settings())
    logits, labels = logits_of(head, in_order(Activations.of(x[500:]), y[500:]), CPU)
    reference = LogisticRegression(max_iter=1000).fit(x[:400].astype(float), y[:400])
    expected = reference.score(x[500:].astype(float), y[500:])
    assert (logits.argmax(1) == labels).mean() >= expected - 0.05


def test_the_best_epoch_is_restored_and_not_the_last(blobs):
    x, y = blobs
    head, history = trained(x, y, settings(epochs=30, learning_rate=0.5))
    losses = [epoch.val_calibrated_loss for epoch in history]
    logits, labels = logits_of(head, in_order(Activations.of(x[400:500]), y[400:500]), CPU)
    calibrated = torch.from_numpy(logits).double() / fit_temperature(logits, labels)
    found = torch.nn.functional.cross_entropy(calibrated, torch.from_numpy(labels))
    assert float(found) == pytest.approx(min(losses), rel=1e-5)
    assert min(losses) < losses[-1]


def test_an_epoch_that_is_merely_too_sure_of_itself_is_not_worse(blobs):
    x, y = blobs
    _, history = trained(x, y, settings(epochs=30, learning_rate=0.5))
    plain, calibrated = zip(*((e.val_loss, e.val_calibrated_loss) for e in history), strict=True)
    assert all(a <= b + 0.02 for a, b in zip(calibrated, plain, strict=True))


def test_fitting_stops_when_validation_has_not_improved_for_patience_epochs(blobs):
    x, y = blobs
    _, history = trained(x, y, settings(epochs=200, learning_rate=0.5, patience=3))
    losses = [epoch.val_calibrated_loss for epoch in history]
    assert len(history) == losses.index(min(losses)) + 1 + 3


def test_the_same_seed_gives_the_same_weights_and_leaves_the_callers_randomness_alone(blobs):
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    first, _ = trained(*blobs, settings(epochs=2))
    assert torch.equal(torch.rand(1), expected)
    second, _ = trained(*blobs, settings(epochs=2))
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_loss_that_is_not_finite_stops_with_its_first_step_and_the_likely_cause(
    blobs, monkeypatch
):
    x, y = blobs
    monkeypatch.setattr("graft.training.loop.PROGRESS_SECONDS", 1e9)  # read at the epoch's end
    with pytest.raises(ModelError, match=r"in epoch 1, at step \d+: the learning rate 1e\+38"):
        trained(x, y, settings(learning_rate=1e38, max_grad_norm=0.0))

    def train(epoch, start):
        for step in range(start, 13):
            values = x[step * 30 : step * 30 + 30].astype(np.float32)
            yield values / (0 if (epoch, step) == (2, 5) else 1), y[step * 30 : step * 30 + 30]

    with (
        np.errstate(divide="ignore"),
        pytest.raises(ModelError, match="in epoch 2, at step 19: its"),
    ):
        fit(torch.nn.Linear(20, 3), train, 13, lambda: train(1, 0), settings(), CPU)


def test_an_epoch_does_not_wait_for_the_device(blobs, monkeypatch):
    x, y = blobs
    reads = []
    for name in ("item", "tolist", "__bool__", "__float__", "__int__"):
        read = getattr(torch.Tensor, name)
        monkeypatch.setattr(
            torch.Tensor, name, lambda self, read=read: (reads.append(1), read(self))[1]
        )
    for runtime in (CPU, HALF):
        state = _started(torch.nn.Linear(20, 3), None, settings(), runtime)
        batches = ((x[i : i + 30].astype(np.float32), y[i : i + 30]) for i in range(0, 300, 30))
        for _ in train_epoch(state, batches, 0, lambda step: (1e-2, 0.9), settings(), runtime):
            assert not reads
    assert state.totals[2].item() == 10
    assert reads, "they are counted"


def test_progress_is_reported_at_an_epochs_end_and_otherwise_by_the_clock(blobs, monkeypatch):
    reported = []
    for seconds in (1e9, -1.0):
        monkeypatch.setattr("graft.training.loop.PROGRESS_SECONDS", seconds)
        steps = []
        _, history = trained(
            *blobs, settings(epochs=2), on_step=lambda *news, steps=steps: steps.append(news)
        )
        reported.append(steps)
        assert steps[-1] == (2 * steps_of(400, 32), history[-1].train_loss)
    few, all_steps = ([step for step, _ in steps] for steps in reported)
    assert few == [13, 26]
    assert sorted(set(all_steps)) == list(range(1, 27))


def test_float16_trains_as_well_and_skips_the_steps_whose_gradients_overflow(blobs):
    x, y = blobs[0] * 100, blobs[1]
    state = _started(torch.nn.Linear(20, 3), None, settings(), HALF)
    before = [p.detach().clone() for p in state.model.parameters()]
    batch = iter([(x[:30].astype(np.float32), y[:30])])
    for _ in train_epoch(state, batch, 0, lambda step: (1e-2, 0.9), settings(), HALF):
        assert state.scaler.get_scale() == 2**15, "the gradients are to overflow"
    assert all(torch.equal(*pair) for pair in zip(before, state.model.parameters(), strict=True))
    head, _ = trained(*blobs, settings(), runtime=HALF)
    logits, labels = logits_of(head, in_order(Activations.of(blobs[0][500:]), y[500:]), CPU)
    reference, _ = trained(*blobs, settings())
    expected, _ = logits_of(reference, in_order(Activations.of(blobs[0][500:]), y[500:]), CPU)
    right = (logits.argmax(1) == labels).mean()
    assert right >= (expected.argmax(1) == labels).mean() - 0.03


class Killed(Exception):
    pass


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_a_fit_killed_within_an_epoch_resumes_to_the_same_weights(
    precision, blobs, tmp_path, monkeypatch
):
    monkeypatch.setenv("GRAFT_CHECKPOINT_SECONDS", "0")
    runtime = {"float32": CPU, "float16": HALF}[precision]
    x, y = blobs[0].astype(np.float32), blobs[1]
    chosen = settings(epochs=4, ema=0.9, mixup=0.2, learning_rate=1e-4)
    identity = {"images": "the same"}

    def network():
        torch.manual_seed(1)
        norm = torch.nn.BatchNorm1d(16)
        # So large that gradients overflow in float16 until the scale has fallen.
        torch.nn.init.constant_(norm.weight, 300.0)
        return torch.nn.Sequential(torch.nn.Linear(20, 16), norm, torch.nn.Linear(16, 3))

    def run(name, resume, last=None):
        model = network()

        def train(epoch, start):
            for step, rows in enumerate(batch_rows(y[:400], 32, 1, epoch)[start:], start):
                if (epoch, step) == last:
                    raise Killed
                yield x[rows], y[rows]

        kept = Resumable(tmp_path / name, identity, resume)
        val = lambda: iter([(x[400:], y[400:])])  # noqa: E731
        history = fit(model, train, 13, val, chosen, runtime, resumable=kept)
        return model.state_dict(), [replace(epoch, seconds=0.0) for epoch in history]

    whole, history = run("whole", False)
    for resume, last in ((False, (1, 3)), (True, (2, 7)), (True, (4, 1))):
        with pytest.raises(Killed):
            run("killed", resume, last)
    again, history_again = run("killed", True)
    assert all(torch.equal(whole[name], again[name]) for name in whole)
    assert history == history_again
    identity = {"images": "another"}
    with pytest.raises(UsageError, match="was started with other images, labels or splits, so it"):
        run("killed", True)
    (tmp_path / "killed").write_bytes(b"cut off")
    with pytest.raises(UsageError, match="the checkpoint is damaged"):
        run("killed", True)


def test_a_validation_loss_that_is_never_finite_is_one_clear_error(blobs):
    x, y = blobs
    broken = x.copy()
    broken[400:500] = np.float16("inf")
    with pytest.raises(ModelError, match="validation loss was not finite in any of 2 epochs"):
        trained(broken, y, settings(epochs=2), clean=x)


def test_gradients_are_clipped_to_the_norm_given_and_not_at_all_at_0(blobs):
    x, y = blobs
    heads = [
        trained(x, y, settings(epochs=1, optimizer="sgd", max_grad_norm=norm))[0]
        for norm in (1e-9, 1e9, 0.0)
    ]
    still, far, free = ([p.detach() for p in head.parameters()] for head in heads)
    assert all(torch.equal(a, b) for a, b in zip(far, free, strict=True))
    assert not all(torch.allclose(a, b, atol=1e-4) for a, b in zip(still, free, strict=True))


def test_an_epoch_holds_every_image_once_and_takes_the_views_in_turn():
    labels = np.arange(50)
    views = [
        Activations.of(np.stack([labels, np.full(50, v)], 1).astype(np.float16)) for v in range(3)
    ]
    seen = {i: set() for i in range(50)}
    for epoch in range(1, 4):
        rows = [(x, y) for x, y in shuffled(views, labels, batch_rows(labels, 7, 0, epoch), epoch)]
        assert sorted(np.concatenate([y for _, y in rows])) == list(range(50))
        assert len(rows) == steps_of(50, 7)
        for x, y in rows:
            assert (x[:, 0] == y).all()
            for number, view in zip(y, x[:, 1], strict=True):
                seen[int(number)].add(int(view))
    assert all(numbers == {0, 1, 2} for numbers in seen.values())


def test_statistics_are_those_of_a_float64_loop():
    x = np.random.default_rng(0).normal(3, 2, (1300, 5)).astype(np.float16)
    mean, std = statistics(Activations.of(x))
    assert mean.numpy() == pytest.approx(x.astype(np.float64).mean(0), rel=1e-6)
    assert std.numpy() == pytest.approx(x.astype(np.float64).std(0), rel=1e-5)


def test_balanced_sampling_draws_every_class_as_often():
    labels = np.array([0] * 900 + [1] * 90 + [2] * 10)
    drawn = np.concatenate(
        [labels[rows] for e in range(10) for rows in batch_rows(labels, 50, 0, e, balanced=True)]
    )
    assert np.bincount(drawn) / len(drawn) == pytest.approx([1 / 3] * 3, abs=0.02)


def test_small_images_are_moved_over_their_reflection_and_mirrored_every_other_epoch():
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (20, 8, 8, 3), np.uint8)
    labels = np.arange(20)
    shifts, flips = set(), {i: [] for i in range(20)}
    for epoch in range(1, 5):
        rows = batch_rows(labels, 6, 1, epoch)
        for x, y in jittered(
            Activations.of(images), labels, rows, epoch, seed=1, shift=2, flip=True
        ):
            for out, i in zip(x, y, strict=True):
                padded = np.pad(images[i], ((2, 2), (2, 2), (0, 0)), "reflect")
                found = [
                    (top, left, mirror)
                    for mirror in (False, True)
                    for top in range(5)
                    for left in range(5)
                    if np.array_equal(
                        out[:, ::-1] if mirror else out, padded[top : top + 8, left : left + 8]
                    )
                ]
                assert len(found) == 1
                shifts.add(found[0][:2])
                flips[i].append(found[0][2])
    assert len(shifts) > 15
    assert all(turned[:2] == [not t for t in turned[1:3]] for turned in flips.values())


def test_a_gray_square_lies_anywhere_on_a_small_image_and_perhaps_half_beyond_its_edge():
    images = np.full((400, 8, 8, 3), 7, np.uint8)
    rows, view = [np.arange(400)], Activations.of(images)
    ((x, _),) = jittered(view, np.zeros(400, int), rows, 1, seed=1, shift=1, flip=True, erased=4)
    assert set(np.unique(x)) == {7, 128}
    gray = (x == 128).all(3)
    sizes = {(int(g.any(1).sum()), int(g.any(0).sum())) for g in gray}
    assert (4, 4) in sizes
    assert {min(size) for size in sizes} == {2, 3, 4}
    for g in gray:  # one square, without holes
        assert g.sum() == g.any(1).sum() * g.any(0).sum()
    assert (x[gray] == 128).all()
    assert gray.any(0).all()
