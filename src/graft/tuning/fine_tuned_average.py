"""The average of the weights of several fine-tunings (Wortsman et al. 2022, arXiv:2203.05482):
fine-tunings of one pretrained network from the same block on often lie in one basin, and the middle
of it is better than its rim. It costs no training, and no more at prediction than one of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from graft.data.split import Split
from graft.evaluation.calibration import calibrated_loss
from graft.features.table import FeatureTable
from graft.models.halves import Suffix
from graft.models.head import Head
from graft.models.runtime import Runtime
from graft.runs.run import Run
from graft.training.defaults import DROPOUT_HIDDEN, HIDDEN, resolve
from graft.training.loop import logits_of
from graft.training.plan import Plan, make_plan
from graft.training.recorder import Recorder
from graft.training.stages import Trained, fit_stages, stage_batches
from graft.tuning.candidate import Candidate, Members
from graft.tuning.fine_tuning_trials import fold_split, held_logits, kept_weights
from graft.tuning.search_data import Encodings
from graft.tuning.trial_files import Pass, pass_name

States = tuple[Mapping[str, Tensor], Mapping[str, Tensor]]  # of the body and of the head


def averaged(states: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of states of one network, tensor by tensor; counters are the first's."""
    return {
        name: torch.stack([state[name] for state in states]).mean(0)
        if value.is_floating_point()
        else value
        for name, value in states[0].items()
    }


def best_average(
    states: Sequence[States], plan: Plan, table: FeatureTable, split: Split, runtime: Runtime
) -> tuple[States, list[int], list[float]]:
    """Of fine-tunings of one network the one, or the average of some, with the lowest calibrated
    loss on val: from the best one on the next best is added as long as the loss falls.

    Returns its states, which of them are in it, and the loss of each alone, in nats.
    """
    labels = split.labels_of("val")
    batches = stage_batches(plan, table, split, 1)

    def loss_of(state: States) -> float:
        model = _model(plan, state, len(split.classes))
        return calibrated_loss(logits_of(model, batches.val(), runtime)[0], labels)

    alone = [loss_of(state) for state in states]
    ranked = sorted(range(len(states)), key=alone.__getitem__)
    chosen, best = ranked[:1], alone[ranked[0]]
    found = states[ranked[0]]
    for number in ranked[1:]:
        some = [*chosen, number]
        tried = (
            averaged([states[n][0] for n in some]),
            averaged([states[n][1] for n in some]),
        )
        if (loss := loss_of(tried)) < best:
            chosen, best, found = some, loss, tried
    return found, chosen, alone


def states_left(members: Members, fold: int, run: Run) -> list[States]:
    """What these fine-tunings left of a fold."""
    found = [kept_weights(run, pass_name(((one,),), fold)) for one in members]
    return [state for state in found if state is not None]


def run_average(members: Members, fold: int, encodings: Encodings, runtime: Runtime) -> Pass:
    """The best average, by the fold's val, of what fine-tunings left of a fold, and what it says of
    what is held.
    """
    states = states_left(members, fold, encodings.run)
    one, data = members[0], encodings.data
    plan, table = encodings.plan(one), encodings.table(one)
    split = fold_split(data.split, data.folds[fold], 1.0, fold)
    best, _, _ = best_average(states, plan, table, split, runtime)
    logits = held_logits(plan, _trained(plan, best, len(split.classes)), table, split, runtime)
    trials: tuple[Members, ...] = (members,)
    name = pass_name(trials, fold)
    return Pass(name, trials, split.rows("test"), logits[np.newaxis], 0.0, 0.0, fold)


def fit_average(
    members: Members, plan: Plan, table: FeatureTable, split: Split, recorder: Recorder
) -> Trained:
    """Fine-tune each member on train, and average as val says; its note tells what was kept."""
    fitted = [fit_stages(plan, table, split, recorder)]
    for number, one in enumerate(members[1:], 2):
        fitted.append(_other(one, number, plan, table, split, recorder))
    states: list[States] = [
        (trained.encoder_state, trained.head.state_dict())
        for trained in fitted
        if trained.encoder_state is not None
    ]
    if not states:
        return fitted[0]
    best, chosen, alone = best_average(states, plan, table, split, recorder.runtime)
    if len(chosen) > 1:
        kept = f"the average of the weights of {len(chosen)} was kept"
    else:
        kept = "no average was better than the best one alone, which was kept"
    losses = ", ".join(f"{loss:.3f}" for loss in alone)
    recorder.note(f"of {len(members)} fine-tunings (loss on val {losses}) {kept}")
    return _trained(plan, best, len(split.classes))


def _other(
    one: Candidate, number: int, plan: Plan, table: FeatureTable, split: Split, recorder: Recorder
) -> Trained:
    """A further member, whose history and checkpoints lie apart from those of the first."""
    run = Run(recorder.run.path / "tune" / "work" / f"member{number}")
    run.path.mkdir(parents=True, exist_ok=True)
    own = plan.config
    config = one.train_config(flip=own.flip, seed=own.seed, backend=own.backend)
    dataset, progress = table.dataset, recorder.progress
    other = make_plan(resolve(config, plan.backbone), plan.backbone, dataset, run, progress)
    recorder.note(f"fine-tuning {number} of those that are averaged, at rate {one.learning_rate:g}")
    apart = replace(recorder, run=run, identity={**recorder.identity, "member": number}, history=[])
    return fit_stages(other, replace(table, encoder=other.encoder), split, apart)


def _model(plan: Plan, state: States, classes: int) -> nn.Module:
    if plan.cut is None:
        raise ValueError("a network without fine-tuned blocks has no weights to average")
    suffix = Suffix(plan.backbone.build(), plan.cut, moving=plan.config.batch_norm == "train")
    suffix.encoder.body.load_state_dict(state[0])
    head = _head(plan, state, classes)
    return nn.Sequential(suffix, head).to(memory_format=torch.channels_last).eval()


def _head(plan: Plan, state: States, classes: int) -> Head:
    head = Head(plan.backbone.features, classes, HIDDEN, plan.dropout_in, DROPOUT_HIDDEN)
    head.load_state_dict(state[1])
    return head


def _trained(plan: Plan, state: States, classes: int) -> Trained:
    return Trained(_head(plan, state, classes), dict(state[0]), "fine-tune")
