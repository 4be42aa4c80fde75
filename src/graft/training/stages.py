"""What is trained, stage by stage: a head on frozen features (the probe), then with `unfreeze`
the last blocks below it too; or a whole network from pixels.

Probe first, then fine-tune from it (LP-FT: Kumar et al. 2022, arXiv:2202.10054): a random head
would send noise back into weights that took days to learn.
"""

import copy
import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace as changed
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save
from torch import nn

from graft.config import TrainConfig
from graft.evaluation.calibration import fit_temperature
from graft.features.backends import LazyBackend
from graft.inference.predictor import Predictor
from graft.models.backbone import Backbone
from graft.models.encoder import Encoder
from graft.models.halves import Suffix
from graft.models.head import Head
from graft.models.split_point import SplitPoint
from graft.training.batches import (
    blocks_of,
    in_order,
    jittered,
    shuffled,
    statistics,
    steps_of,
    streamed,
)
from graft.training.loop import Batches, logits_of
from graft.training.optim import Group
from graft.training.plan import FROZEN
from graft.training.stage import Job, batch_size, fit_stage
from graft.utils.files import replacing

# Where the weights of a trained network lie until model.safetensors is written.
TRAINED_ENCODER = ".encoder.safetensors"
# The fine-tuned network replaces the probe if its mean loss on val, calibrated, is lower by this
# many standard errors of the paired difference.
NOISE = 1.0


def learn(job: Job) -> Predictor:
    """Fit what the plan says on train; early stopping and all choices by val."""
    if job.plan.backend is None:
        return _from_pixels(job)
    head = probe(job)
    frozen = Predictor(job.backbone, head.cpu(), job.prepared.classes, job.plan.backend)
    return _tuned(job, frozen) if job.plan.cut else frozen


def probe(job: Job, views: int | None = None) -> Head:
    """A head fitted on the frozen features, of all views or the first `views`."""
    prepared, config = job.prepared, job.config
    seen = [prepared.features("train", n) for n in range(views or prepared.frozen.views)]
    labels, val_labels = job.labels("train"), job.labels("val")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        head = Head(
            job.backbone.features,
            len(prepared.classes),
            config.hidden,
            config.dropout_in or 0.0,
            config.dropout_hidden,
        )
    head.standardize(*statistics(seen[0]))
    val = prepared.features("val")
    batch = batch_size(FROZEN["batch_size"], len(labels)) if job.plan.cut else job.batch_size()
    settings = job.plan.probe
    fit_stage(
        job,
        "probe" if job.plan.cut else "fit",
        head,
        lambda epoch, start: shuffled(seen, labels, job.turns(batch, epoch)[start:], epoch),
        steps_of(len(labels), batch),
        lambda: in_order(val, val_labels),
        settings,
    )
    return head


def _from_pixels(job: Job) -> Predictor:
    prepared, config, backbone = job.prepared, job.config, job.backbone
    labels, val_labels = job.labels("train"), job.labels("val")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        head = Head(
            backbone.features,
            len(prepared.classes),
            0,
            config.dropout_in or 0.0,
            config.dropout_hidden,
        )
        encoder = backbone.build()
    views = [prepared.activations("train", view) for view in range(prepared.frozen.views)]
    plain = views[0]
    body: Any = encoder.body
    if hasattr(body, "whiten"):
        sample = np.random.default_rng(config.seed).permutation(len(plain))[: body.WHITEN]
        # Some megabytes at a time, whatever the size of the images.
        size = int(np.prod(encoder.input_shape))
        blocks = np.array_split(np.sort(sample), -(-len(sample) * size // 2**20))
        body.whiten(encoder.normalized(torch.from_numpy(plain[rows])) for rows in blocks)
    model = nn.Sequential(encoder, head).to(memory_format=torch.channels_last)
    val = prepared.activations("val")
    batch = job.batch_size()

    def train(epoch: int, start: int) -> Batches:
        rows, shift = job.turns(batch, epoch)[start:], job.plan.shift
        if shift:
            return jittered(
                plain,
                labels,
                rows,
                epoch,
                seed=config.seed,
                shift=shift,
                flip=config.flip,
                erased=job.plan.erased,
            )
        return shuffled(views, labels, rows, epoch)

    fit_stage(
        job,
        "fit",
        model,
        train,
        steps_of(len(labels), batch),
        lambda: in_order(val, val_labels),
        job.plan.main,
        _groups(encoder, head, config.optimizer),
    )
    return _trained(job, encoder.body.state_dict(), head)


def _groups(encoder: Encoder, head: Head, optimizer: str | None) -> list[Group]:
    # Measured with SGD; AdamW's steps are of one size as it is.
    rate = getattr(encoder.body, "BIAS_RATE", 1.0) if optimizer == "sgd" else 1.0
    own = [p for p in encoder.parameters() if p.requires_grad]
    biases = [p for p in own if p.ndim == 1]
    others = [p for p in own if p.ndim > 1]
    # What a rate of 64 times as much would decay is given back.
    return [Group([*others, *head.parameters()]), Group(biases, rate, 1 / rate)]


def _tuned(job: Job, frozen: Predictor) -> Predictor:
    prepared, config, plan = job.prepared, job.config, job.plan
    if plan.cut is None:
        return frozen
    labels, val_labels = job.labels("train"), job.labels("val")
    encoder = job.backbone.build()
    suffix = Suffix(encoder, plan.cut, moving=config.batch_norm == "train")
    head = copy.deepcopy(frozen.head)
    model = nn.Sequential(suffix, head).to(memory_format=torch.channels_last)
    batch = job.batch_size()

    if plan.cached:
        views = [prepared.activations("train", view) for view in range(prepared.frozen.views)]
        val_view = prepared.activations("val")

        def train(epoch: int, start: int) -> Batches:
            return shuffled(views, labels, job.turns(batch, epoch)[start:], epoch)

        def val() -> Batches:
            return in_order(val_view, val_labels)
    else:
        files, val_files = prepared.files("train"), prepared.files("val")
        preprocess, augmentation = job.backbone.preprocess, prepared.frozen.augmentation
        count = prepared.frozen.views

        def train(epoch: int, start: int) -> Batches:
            rows = job.turns(batch, epoch)[start:]
            # A frozen prefix that is computed again gives what its cache would give; what trains
            # from the images sees a new crop in every epoch.
            new = plan.prefix_backend is None and count > 1
            return streamed(
                files,
                labels,
                rows,
                preprocess,
                lambda row: epoch if new else (row + epoch) % count,
                augmentation,
                plan.prefix_backend,
            )

        def val() -> Batches:
            rows = blocks_of(len(val_labels), encoder.input_shape)
            return streamed(
                val_files,
                val_labels,
                rows,
                preprocess,
                lambda row: 0,
                augmentation,
                plan.prefix_backend,
            )

    before, _ = logits_of(model, val())
    fit_stage(
        job,
        "fine-tune",
        model,
        train,
        steps_of(len(labels), batch),
        val,
        plan.main,
        [*layered(suffix, plan.cut, config), Group(list(head.parameters()))],
    )
    after, _ = logits_of(model, val())
    gain, noise = paired_gain(before, after, val_labels, prepared.groups(prepared.rows("val")))
    # How it is said in the report, too.
    found = f"the mean loss on {len(val_labels)} validation images fell by {gain:.3f}"
    if gain <= NOISE * noise:
        job.notes.append(
            f"fine-tuning was tried and not kept: {found}, which is within its noise "
            f"(standard error {noise:.3f}); the frozen network with its head stays"
        )
        return frozen
    job.notes.append(f"fine-tuning was kept: {found} (standard error {noise:.3f})")
    return _trained(job, suffix.state(), head)


def layered(suffix: Suffix, cut: SplitPoint, config: TrainConfig) -> list[Group]:
    """The suffix's parameters: each block learns `layer_decay` times as fast as the one after it
    (Clark et al. 2020, arXiv:2003.10555), the last at `backbone_rate` times the head's rate.
    """
    count = len(cut.blocks)
    rates = [config.backbone_rate * config.layer_decay ** (count - i) for i in range(count + 1)]
    # What comes before all blocks, such as a transformer's position embedding, is slower still;
    # what stands between two, such as a normalization, belongs to the one before it.
    place, block_of = 0, {}
    for i, name in enumerate(cut.blocks, 1):
        for parameter in suffix.encoder.body.get_submodule(name).parameters():
            block_of[id(parameter)] = i
    groups: list[list[nn.Parameter]] = [[] for _ in rates]
    for parameter in suffix.parameters():
        place = block_of.get(id(parameter), place)
        groups[place].append(parameter)
    return [Group(own, rate) for own, rate in zip(groups, rates, strict=True) if own]


def _trained(job: Job, state: dict[str, torch.Tensor], head: Head) -> Predictor:
    backbone = with_weights(job.backbone, state, job.run)
    backend = LazyBackend(backbone.build, job.config.backend)
    return Predictor(backbone, head.cpu(), job.prepared.classes, backend, frozen=False)


def paired_gain(
    before: NDArray[np.float32],
    after: NDArray[np.float32],
    labels: NDArray[np.int64],
    groups: Sequence[str] | None = None,
) -> tuple[float, float]:
    """How much lower the mean cross-entropy of logits (n, K) became, in nats, and the standard
    error of that difference over the same n images, or over their groups.

    Both are calibrated first, each half of the units by the temperature of the other half: what
    is merely more or less sure would gain nothing once the classifier is calibrated.
    """
    names = np.arange(len(labels)) if groups is None else np.asarray(groups)
    unit = np.unique(names, return_inverse=True)[1]
    count = int(unit.max()) + 1
    half = (np.random.default_rng(0).permutation(count) % 2)[unit]
    losses = np.empty((2, len(labels)))
    for loss, logits in zip(losses, (before, after), strict=True):
        for own in (half == 0, half == 1):
            temperature = fit_temperature(logits[~own], labels[~own]) if (~own).any() else 1.0
            scores = torch.from_numpy(logits[own]).double() / temperature
            loss[own] = -torch.log_softmax(scores, 1).numpy()[np.arange(own.sum()), labels[own]]
    difference = losses[0] - losses[1]
    gain = float(difference.mean())
    # One group says nothing of how groups differ.
    noise = np.sqrt((np.bincount(unit, difference - gain) ** 2).sum()) if count > 1 else np.inf
    return gain, float(noise / len(labels))


def with_weights(backbone: Backbone, state: dict[str, torch.Tensor], run: Path) -> Backbone:
    """The backbone with these weights in place of its own, where the state has them; they lie in
    the run until the model is saved.
    """
    whole = backbone.state() if backbone.weights is not None else {}
    whole |= {key: value.cpu().contiguous() for key, value in state.items()}
    data = save(whole)
    weights = run / TRAINED_ENCODER
    with replacing(weights) as beside:
        beside.write_bytes(data)
    digest = hashlib.sha256(data + json.dumps(backbone.to_json()).encode()).hexdigest()
    return changed(backbone, digest=digest, weights=weights)
