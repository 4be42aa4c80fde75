"""Optuna, asked what to try next: only where it is installed (graft[tune]).

Its memory is a journal in the run folder (JournalStorage), so that a search is resumed, shared by
several processes, and read by optuna-dashboard.
"""

import json
import logging
import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from graft.tuning.candidate import Candidate, name_of
from graft.tuning.space import Space
from graft.tuning.trial_table import TrialTable

HEADS = "heads"
# A fine-tuning is given up when chance alone would make it so much worse than this often.
PRUNED_AT = 0.1


def optuna_here() -> bool:
    """Whether Optuna is installed."""
    return find_spec("optuna") is not None


class Sampler:
    """Optuna's studies of one search. `seed` makes what it asks repeatable."""

    def __init__(self, journal: Path, seed: int):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what Optuna calls experimental
            import optuna
            from optuna.storages import JournalStorage
            from optuna.storages.journal import JournalFileBackend

        logging.getLogger("optuna").setLevel(logging.WARNING)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.optuna: Any = optuna
        self.storage: Any = JournalStorage(JournalFileBackend(str(journal)))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.heads = self._study(
                HEADS, sampler=optuna.samplers.TPESampler(seed=seed, constant_liar=True)
            )

    def _study(self, name: str, **more: Any) -> Any:
        return self.optuna.create_study(
            storage=self.storage, study_name=name, direction="minimize", load_if_exists=True, **more
        )

    def ask_heads(self, space: Space, base: Candidate, count: int) -> list[tuple[Any, Candidate]]:
        """So many heads on the features of `base`, each with the trial to tell its loss to."""
        found = []
        for _ in range(count):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                trial = self.heads.ask()
                rates, decays = space.learning_rates, space.weight_decays
                own = {
                    "hidden": trial.suggest_categorical("hidden", space.hidden),
                    "stages": trial.suggest_categorical("stages", space.stages),
                    "learning_rate": _between(trial, "learning_rate", rates),
                    "weight_decay": _between(trial, "weight_decay", decays),
                    "schedule": trial.suggest_categorical("schedule", space.schedules),
                    "patience": trial.suggest_categorical("patience", space.patiences),
                    "label_smoothing": trial.suggest_categorical(
                        "label_smoothing", space.label_smoothing
                    ),
                }
            one = base.model_copy(update=own)
            trial.set_user_attr("candidate", json.dumps(one.to_json()))
            found.append((trial, one))
        return found

    def tell(self, asked: Sequence[tuple[Any, Candidate]], table: TrialTable) -> None:
        """The losses of what was asked; what has none has failed."""
        losses = {name_of(t.members): t.loss(table.labels) for t in table.trials}
        for trial, one in asked:
            loss = losses.get(name_of((one,)))
            state = self.optuna.trial.TrialState
            if loss is None:
                self.heads.tell(trial, state=state.FAIL)
            else:
                self.heads.tell(trial, loss)

    def teach(self, space: Space, base: Candidate, table: TrialTable) -> None:
        """Add the heads that the portfolio tried on the features of `base`: the sampler begins from
        them.
        """
        known = {trial.user_attrs.get("candidate") for trial in self.heads.get_trials(False)}
        for trial in table.trials:
            one = trial.members[0]
            text = json.dumps(one.to_json())
            if len(trial.members) > 1 or one.head != "fitted" or not one.frozen or text in known:
                continue
            if one.encoding() != base.encoding() or not trial.tested.all():
                continue
            made = self._as_trial(space, one, text, trial.loss(table.labels))
            if made is not None:
                self.heads.add_trial(made)

    def _as_trial(self, space: Space, one: Candidate, text: str, loss: float) -> Any:
        kinds = self.optuna.distributions
        distributions: dict[str, Any] = {
            name: kinds.CategoricalDistribution(values)
            for name, values in (
                ("hidden", space.hidden),
                ("stages", space.stages),
                ("schedule", space.schedules),
                ("patience", space.patiences),
                ("label_smoothing", space.label_smoothing),
            )
        }
        for name, numbers in (
            ("learning_rate", space.learning_rates),
            ("weight_decay", space.weight_decays),
        ):
            if _is_range(numbers):
                low, high = min(numbers), max(numbers)
                distributions[name] = kinds.FloatDistribution(low, high, log=True)
            else:
                distributions[name] = kinds.CategoricalDistribution(numbers)
        values = {name: getattr(one, name) for name in distributions}
        try:
            return self.optuna.trial.create_trial(
                params=values,
                distributions=distributions,
                value=loss,
                user_attrs={"candidate": text},
            )
        except ValueError:  # outside of the space, as the default may be
            return None

    def gives_up(self, losses: Sequence[float], against: Sequence[float]) -> bool:
        """Whether paired losses (c,) of parts of the held images are so much higher than those of
        the best so far that going on is not worth it: the Wilcoxon signed-rank test.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            study = self.optuna.create_study(
                direction="minimize",
                pruner=self.optuna.pruners.WilcoxonPruner(p_threshold=PRUNED_AT),
            )
            first = study.ask()
            for part, loss in enumerate(against):
                first.report(loss, part)
            study.tell(first, sum(against) / len(against))
            trial = study.ask()
            for part, loss in enumerate(losses):
                trial.report(loss, part)
            return bool(trial.should_prune())


def _is_range(numbers: Sequence[float]) -> bool:
    return len(numbers) > 1 and min(numbers) > 0


def _between(trial: Any, name: str, numbers: Sequence[float]) -> float:
    if _is_range(numbers):
        return float(trial.suggest_float(name, min(numbers), max(numbers), log=True))
    return float(trial.suggest_categorical(name, numbers))
