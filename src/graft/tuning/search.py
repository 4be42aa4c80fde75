"""The order of a search: cheap before dear, and what usually helps before what seldom does."""

import time
from collections.abc import Sequence

from graft.errors import ModelError
from graft.tuning import portfolio
from graft.tuning.candidate import Candidate, Members, described
from graft.tuning.fine_tuning_search import fine_tuning_steps
from graft.tuning.fine_tuning_trials import run_as_train
from graft.tuning.head_trials import head_units
from graft.tuning.sampler import Sampler
from graft.tuning.search_state import Search
from graft.tuning.trial_files import pass_name

# Rounds of the sampler without a better classifier, after which more of them are not worth it.
PATIENCE = 3
ASKED = 12
WAITING = 0.2  # seconds


def run_search(search: Search) -> None:
    """All steps, each as far as the budget allows; the default is tried whatever it costs."""
    space, default = search.space, search.default
    _default(search)
    search.ridge(default)
    search.heads(_others(portfolio.first_family(space, default), default))
    for one in portfolio.text_heads(space, default):
        _from_text(search, one)
    for one in portfolio.ridge_bases(space, default)[1:]:
        search.ridge(one)
    networks = [n for n in space.networks() if n != default.model]
    _elsewhere(search, [portfolio.default_candidate(name) for name in networks])
    fine = fine_tuning_steps(search, search.best_base())
    next(fine, None)  # the first preview comes before what seldom helps
    base = search.best_base()
    if base.encoding() != default.encoding():
        search.heads(((base,),))
        search.heads(_others(portfolio.first_family(space, base), base))
    side = search.encodings.plan(base).backbone.preprocess.height
    _elsewhere(search, list(portfolio.other_inputs(space, base, side)))
    for _ in fine:
        pass
    for trials in portfolio.other_families(space, search.best_base()):
        search.heads(trials)
    if search.sampler is not None:
        _sampled(search, search.sampler)


def _others(trials: tuple[Members, ...], one: Candidate) -> tuple[Members, ...]:
    """These trials but for one that was fitted already."""
    return tuple(members for members in trials if members != (one,))


def _default(search: Search) -> None:
    """The default, whatever it costs, which another process may be at. Raises ModelError where it
    cannot be fitted: there is nothing to compare others with.
    """
    trials = ((search.default,),)
    search.heads(trials, at_any_cost=True)
    while not len(search.table()):
        if failed := search.table().failed:
            raise ModelError(f"the default cannot be fitted: {failed[0].failed}")
        time.sleep(WAITING)
        search.heads(trials, at_any_cost=True)


def _from_text(search: Search, one: Candidate) -> None:
    """A head that begins at the names of the classes, fold by fold as `graft train` fits it."""
    # The text tower is started.
    if not search.budget.fits(search.costs.seconds("start", 1, 3.0), described((one,))):
        return
    features = search.encodings.plan(one).backbone.features
    for number, fold in enumerate(search.data.folds):
        units = head_units((one,), len(fold.train), features, search.classes)
        done = search.pass_of(
            "head",
            units,
            described((one,)),
            pass_name(((one,),), number),
            lambda number=number: run_as_train(  # type: ignore[misc]
                one, number, search.encodings, search.runtime
            ),
            whole=len(search.data.folds) - number,
        )
        if not done:
            return


def _elsewhere(search: Search, bases: Sequence[Candidate]) -> None:
    for one in bases:
        if search.encoded(one):
            search.ridge(one)


def _sampled(search: Search, sampler: Sampler) -> None:
    """Rounds of heads that the sampler asks for, until the budget or their gain is at an end."""
    since, base = 0, search.best_base()
    sampler.teach(search.space, base, search.table())
    while since < PATIENCE and search.budget.left() > 0:
        before, count = float(search.table().estimates().max()), len(search.files.passes())
        asked = sampler.ask_heads(search.space, base, ASKED)
        for trials in portfolio.in_families([one for _, one in asked]):
            search.heads(trials)
        sampler.tell(asked, search.table())
        if len(search.files.passes()) == count:
            return  # nothing more fits
        since = 0 if float(search.table().estimates().max()) > before else since + 1
