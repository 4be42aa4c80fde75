"""What a search has and does: passes, each begun only if what it will cost fits the budget."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from graft.errors import GraftError
from graft.models.runtime import Runtime
from graft.tuning import portfolio
from graft.tuning.candidate import Candidate, Members, described
from graft.tuning.costs import Budget, Costs
from graft.tuning.head_trials import (
    head_units,
    most_trials,
    ridge_members,
    ridge_units,
    run_heads,
    run_ridge,
)
from graft.tuning.sampler import Sampler
from graft.tuning.search_data import Encodings
from graft.tuning.space import Space
from graft.tuning.trial_files import Pass, TrialFiles, pass_name
from graft.tuning.trial_table import TrialTable
from graft.utils.progress import Progress

# Images that measure how fast a network encodes: the first so many start it, the others count.
WARM, PROBED = 32, 64
# What is taken to cost as much, until it is measured: a head in a family costs less than alone.
LIKE = {"heads": "head"}
TESTS = "the test images, as the winner is fed"


@dataclass
class Search:
    """What a search is made of, and what it has found; `before` are the seconds of earlier
    processes. `timed_choice` is of how many trials a choice was timed, and what it took; `on_pass`
    is called after each pass.
    """

    encodings: Encodings
    files: TrialFiles
    space: Space
    budget: Budget
    costs: Costs
    runtime: Runtime
    sampler: Sampler | None
    progress: Progress
    before: float = 0.0
    problems: dict[str, str] = field(default_factory=dict)
    timed_choice: tuple[int, float, float] | None = None
    on_pass: Callable[["Search"], None] | None = None
    _tables: dict[int, TrialTable] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.default = portfolio.default_candidate(self.encodings.base.model)
        self.data = self.encodings.data
        self.classes = len(self.data.split.classes)

    def table(self) -> TrialTable:
        """The trials so far, those of other processes included."""
        passes = self.files.passes()
        if len(passes) not in self._tables:
            data = self.data
            self._tables = {
                len(passes): TrialTable(
                    passes, self.default, data.labels, data.counted, data.folds, self.classes
                )
            }
        return self._tables[len(passes)]

    def now(self) -> float:
        """Seconds of search so far."""
        return self.before + self.budget.spent()

    def best_base(self) -> Candidate:
        """The network, as it is fed, whose frozen features are best so far, with a default head."""
        table = self.table()
        frozen = [m for m, t in enumerate(table.trials) if t.members[0].frozen]
        one = table.trials[table.best(frozen)].members[0]
        fed = {k: getattr(one, k) for k in ("model", "image_size", "resize", "views", "augment")}
        return self.default.model_copy(update=fed)

    def encoded(self, one: Candidate) -> bool:
        """Whether the features of all images are there, computed if that fits the budget."""
        what = f"the features of {described((one,)).partition(',')[0]}"
        try:
            missing = self.encodings.missing(one)
        except GraftError as error:
            self.problems.setdefault(what, str(error))
            return False
        if not missing:
            return True
        kind, views = f"encode {one.encoding()}", self.encodings.plan(one).encoder.views
        if not self.costs.knows(kind):
            start = self.costs.seconds("start", 1, 3.0)
            if not self.budget.fits(start, what, self._tests(kind)):
                return False
            began = self.budget.clock()
            self.encodings.complete(one, np.arange(min(WARM, len(self.data))))
            self.costs.measured("start", 1, self.budget.clock() - began)
            began, last = self.budget.clock(), min(WARM + PROBED, len(self.data))
            self.encodings.complete(one, np.arange(last))
            self.costs.measured(kind, (last - WARM) * views, self.budget.clock() - began)
        missing = self.encodings.missing(one)
        if not self.budget.fits(self.costs.seconds(kind, missing), what, self._tests(kind)):
            return False
        self.budget.keep_for(TESTS, self.budget.kept.get(TESTS, 0.0) + self._tests(kind))
        began = self.budget.clock()
        self.encodings.complete(one, np.arange(len(self.data)))
        self.costs.measured(kind, missing, self.budget.clock() - began)
        return True

    def _tests(self, kind: str) -> float:
        """Seconds more than are kept to encode the test images so, too, for one that may win."""
        return max(0.0, self.costs.seconds(kind, self.data.tests) - self.budget.kept.get(TESTS, 0))

    def ridge(self, one: Candidate) -> None:
        """The ridge path of a network's features, or of its last stages."""
        trials = ridge_members(one, self.space.strengths, most_trials(self.data))
        if one.stages and not self.encodings.first_column(one):
            return  # it has no more stages than that
        columns = self.encodings.plan(one).backbone.features - self.encodings.first_column(one)
        units = ridge_units(
            len(self.data), columns, len(trials), len(self.data.folds), self.classes
        )
        self.pass_of(
            "ridge",
            units,
            f"ridge paths on {described(trials[0]).partition(',')[0]}",
            pass_name(trials, 0),
            lambda: run_ridge(trials, self.encodings),
        )

    def heads(self, trials: tuple[Members, ...], at_any_cost: bool = False) -> None:
        """A family of heads, fold by fold; a fold that does not fit ends it. At any cost the first
        fold is fitted all the same.
        """
        if not trials:
            return
        one = trials[0][0]
        members = tuple(own for own, *_ in trials)
        features = self.encodings.plan(one).backbone.features
        for number, fold in enumerate(self.data.folds):
            whole = 1 if at_any_cost else len(self.data.folds) - number
            units = head_units(members, len(fold.train), features, self.classes)
            heads = f"{len(trials)} head{'s' * (len(trials) > 1)}"
            what = f"{heads} on {described(trials[0]).partition(',')[0]}"
            done = self.pass_of(
                "heads" if len(trials) > 1 else "head",
                units,
                what,
                pass_name(trials, number),
                lambda number=number: run_heads(  # type: ignore[misc]
                    trials, number, self.encodings, self.runtime
                ),
                at_any_cost and not number,
                whole=whole,
            )
            if not done:
                return

    def pass_of(
        self,
        kind: str,
        units: float,
        what: str,
        name: str,
        run: Callable[[], Pass],
        at_any_cost: bool = False,
        whole: int = 1,
        more: float = 0.0,
    ) -> bool:
        """Whether this pass is done, by this process now or by any before. It is not begun unless
        `whole` such passes and what must follow fit the budget.
        """
        if self.files.has(name):
            return True
        expected = self.costs.seconds(kind, units, self.costs.seconds(LIKE.get(kind, ""), units))
        if not at_any_cost and not self.budget.fits(expected * whole, what, more):
            return False
        with self.files.claimed(name) as mine:
            if not mine:
                return self.files.has(name)  # another process is at it
            at, began = self.now(), self.budget.clock()
            found = run()
            found = replace(found, seconds=self.budget.clock() - began, at=at)
            self.files.write(found)
            self.costs.measured(kind, units, found.seconds)
        self.budget.tried_after_all(what)
        if self.on_pass is not None:
            self.on_pass(self)
        self._tell(what, found)
        return True

    def _tell(self, what: str, found: Pass) -> None:
        table = self.table()
        if not len(table) or found.failed:
            self.progress.say(f"{what}: {found.failed or 'done'}")
            return
        best = table.best()
        left = max(0.0, self.budget.left())
        self.progress.say(
            f"{what}: {found.seconds:.1f} s; best so far {table.estimates()[best]:.1%} by "
            f"cross-validation ({described(table.trials[best].members)}); {left:.0f} s left"
        )
