"""The winner fitted as an ordinary run: on train, with val for its epochs and its temperature."""

import time
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from graft.data.split import Split
from graft.evaluation.calibration import calibrated_loss
from graft.features.blocks import statistics
from graft.features.table import FeatureTable
from graft.models.head import Head
from graft.training.batches import in_order
from graft.training.defaults import HIDDEN
from graft.training.head_fit import features_of
from graft.training.loop import Epoch
from graft.training.plan import Plan
from graft.training.recipe import Chosen
from graft.training.recorder import Recorder
from graft.training.stages import Trained, fit_stages
from graft.tuning.candidate import Candidate, Members, described, name_of
from graft.tuning.fine_tuned_average import fit_average
from graft.tuning.head_batch import HeadData, batches, new_batch, settings_of, steps
from graft.tuning.merged_head import one_head
from graft.tuning.ridge_path import ridge_weights, standardized
from graft.tuning.search_data import stage_columns

States = list[list[Tensor]]


def is_usual(members: Members) -> bool:
    """Whether `graft train` has settings for this classifier: its own head, or fine-tuning."""
    one = members[0]
    usual = one.head == "fitted" and one.hidden == HIDDEN and not one.stages
    return len(members) == 1 and (usual or not one.frozen or one.start != "new")


def chosen_fit(members: Members) -> Chosen:
    """How training/recipe.py fits this classifier, and what its run keeps of how it was chosen."""
    known = {
        "tuned": {
            "name": name_of(members),
            "described": described(members),
            "candidates": [one.to_json() for one in members],
        }
    }
    if is_usual(members):
        return Chosen(fit_stages, known)

    if not members[0].frozen:
        return Chosen(partial(fit_average, members), known)

    def fit(plan: Plan, table: FeatureTable, split: Split, recorder: Recorder) -> Trained:
        table.complete(split.rows("train"), range(plan.encoder.views), recorder.progress)
        recorder.note(f"the head was chosen by graft tune: {described(members)}")
        head = _head(members, plan, table, split, recorder)
        return Trained(head, None, "fit")

    return Chosen(fit, known)


def _head(
    members: Members, plan: Plan, table: FeatureTable, split: Split, recorder: Recorder
) -> Head:
    rows = split.rows("train")
    views = [features_of(table, rows, view) for view in range(plan.encoder.views)]
    val = features_of(table, split.rows("val"))
    data = HeadData(
        views, split.labels_of("train"), val, split.labels_of("val"), len(split.classes)
    )
    fitted = tuple(one for one in members if one.head == "fitted")
    columns = [_column(one, plan) for one in members]
    mean, std = statistics(views[0])
    states: States = []
    if fitted:
        own = [c for one, c in zip(members, columns, strict=True) if one.head == "fitted"]
        states = _fitted_states(fitted, own, data, plan, recorder)
    began = time.perf_counter()
    ridge = _ridge_states([o for o in members if o.head == "ridge"], columns, members, data)
    both = [ridge.pop(0) if one.head == "ridge" else states.pop(0) for one in members]
    head = one_head(members, columns, both, mean, std, plan.dropout_in)
    if not fitted:
        _record(head, data, recorder, time.perf_counter() - began)
    return head


def _column(one: Candidate, plan: Plan) -> int:
    starts = stage_columns(plan.backbone.build()) if one.stages else [0]
    return starts[-one.stages] if one.stages and one.stages < len(starts) else 0


def _fitted_states(
    members: Members, columns: Sequence[int], data: HeadData, plan: Plan, recorder: Recorder
) -> States:
    """Weights at the epoch at which the average of the members was best on val."""
    seed = plan.config.seed
    model = new_batch(data, members, columns, plan.dropout_in, seed)
    recorder.fit(
        "fit",
        model,
        lambda epoch, start: batches(data, len(members), epoch, start, seed),
        steps(data),
        lambda: in_order(data.val, data.val_labels),
        settings_of(members, seed, members[0].patience),
        model.groups(),
    )
    model.cpu()
    return [model.state_of(m) for m in range(len(members))]


def _ridge_states(
    ridges: Sequence[Candidate], columns: Sequence[int], members: Members, data: HeadData
) -> States:
    found: States = []
    if not ridges:
        return found
    x = standardized(torch.from_numpy(data.views[0].whole()))
    # As Head.standardize, whose numbers are float32.
    for one, column in zip(members, columns, strict=True):
        if one.head == "ridge":
            strength = float(one.strength or 0)
            found.append(list(ridge_weights(x[:, column:], data.labels, data.classes, strength)))
    return found


def _record(head: Head, data: HeadData, recorder: Recorder, seconds: float) -> None:
    """The one line of history of a head in closed form."""
    with torch.inference_mode():
        logits = [head(torch.from_numpy(f.whole())).float() for f in (data.views[0], data.val)]
    both = []
    for found, labels in zip(logits, (data.labels, data.val_labels), strict=True):
        loss = float(F.cross_entropy(found, torch.from_numpy(labels)))
        both.append((loss, float((found.argmax(1).numpy() == labels).mean())))
    calibrated = calibrated_loss(np.asarray(logits[1].numpy()), data.val_labels)
    epoch = Epoch(1, *both[0], *both[1], calibrated, 0.0, seconds)
    line = {"stage": "fit", **asdict(epoch)}
    recorder.history.append(line)
    recorder.run.append_history(line)
    recorder.note("it was computed in closed form: its one epoch is the solution")
