"""What is tried, in a good order: cheap before dear, what usually helps before what seldom does."""

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

from graft.choices import OPEN_CLIP, parse_unfreeze
from graft.training.defaults import BASE, DEEP, LORA, TUNED, WHOLE
from graft.tuning.candidate import Candidate, Members
from graft.tuning.space import Space

# Heads that are fitted in one pass, at most: more would not fit the processor's cache.
LARGEST_FAMILY = 24
STEP = 32  # pixels between two sizes of an input: what most networks halve five times


def default_candidate(model: str) -> Candidate:
    """What `graft train` does with this network when it is told nothing."""
    return Candidate(model=model)


def first_family(space: Space, base: Candidate) -> tuple[Members, ...]:
    """Heads on all features of a network: hidden units × rates × decays, the usual schedule."""
    return _family(space, base, [0])


def other_families(space: Space, base: Candidate) -> Iterator[tuple[Members, ...]]:
    """Families that differ from the first in stages, then in what a pass has in common: smoothing,
    schedule and early stopping.
    """
    if stages := [s for s in space.stages if s]:
        yield _family(space, base, stages)
    seen = {base.family()}
    for smoothing, schedule, patience in _near_first(
        space.label_smoothing, space.schedules, space.patiences
    ):
        own = {"label_smoothing": smoothing, "schedule": schedule, "patience": patience}
        one = base.model_copy(update=own)
        if one.family() not in seen:
            seen.add(one.family())
            yield _family(space, one, [0])


def ridge_bases(space: Space, base: Candidate) -> list[Candidate]:
    """A network's features in whole, then its last stages: each gets a ridge path."""
    return [base.model_copy(update={"stages": s}) for s in dict.fromkeys([0, *space.stages])]


def other_inputs(space: Space, base: Candidate, side: int) -> Iterator[Candidate]:
    """The same network, whose own input has `side` pixels a side, fed in other ways: resized
    otherwise, other sizes, further views.
    """
    for resize in space.resize:
        yield base.model_copy(update={"resize": resize})
    scaled = [max(STEP, round(side * scale / STEP) * STEP) for scale in space.image_scales]
    for size in dict.fromkeys([*scaled, *space.image_sizes]):
        if size != side:
            yield base.model_copy(update={"image_size": size})
    for views, augment in product(space.views, space.augment):
        if augment != "none":
            yield base.model_copy(update={"views": views, "augment": augment})


def fine_tunings(space: Space, base: Candidate) -> list[Candidate]:
    """Fine-tuning configurations, those near the first values of the space first; at most as
    many as the space allows.
    """
    found = []
    for unfreeze, rate, augment in _near_first(
        space.unfreeze, space.fine_tuning_rates, space.fine_tuning_augment
    ):
        usual = {"all": WHOLE, "lora": LORA}.get(parse_unfreeze(unfreeze)[0], TUNED)
        found.append(
            Candidate(
                model=base.model,
                image_size=base.image_size,
                resize=base.resize,
                unfreeze=unfreeze,
                views=1 if augment == "none" else usual["views"],
                augment=augment,
                learning_rate=rate,
                weight_decay=usual["weight_decay"],
                epochs=usual["epochs"],
                mixup=usual["mixup"],
            )
        )
    return found[: space.fine_tunings]


def text_heads(space: Space, base: Candidate) -> list[Candidate]:
    """Heads that begin at what the network's text tower makes of the names of the classes; none
    where it has no text tower.
    """
    if not base.model.startswith(OPEN_CLIP):
        return []
    return [base.model_copy(update={"start": start, "hidden": 0}) for start in space.text_heads]


def from_scratch(space: Space, side: int) -> list[Candidate]:
    """Networks trained from pixels on images whose shorter side has about `side` pixels; none where
    that is not small.
    """
    found = []
    for name in space.scratch if 8 <= side <= space.scratch_side else ():
        usual = DEEP if name == "deep_cnn" else BASE
        least = 16 if name == "deep_cnn" else 8
        kept = ("augment", "views", "epochs", "learning_rate", "weight_decay", "mixup")
        own = {setting: usual[setting] for setting in kept}
        found.append(Candidate(model=name, image_size=max(least, round(side / 8) * 8), **own))
    return found


def in_families(candidates: Sequence[Candidate]) -> list[tuple[Members, ...]]:
    """Fitted heads grouped into passes: what cannot share one is apart."""
    grouped: dict[object, list[Members]] = {}
    for one in candidates:
        members = grouped.setdefault(one.family(), [])
        if (one,) not in members:
            members.append((one,))
    return [
        tuple(members[i : i + LARGEST_FAMILY])
        for members in grouped.values()
        for i in range(0, len(members), LARGEST_FAMILY)
    ]


def _family(space: Space, base: Candidate, stages: Sequence[int]) -> tuple[Members, ...]:
    found = []
    for seen, hidden, rate, decay in product(
        stages, space.hidden, space.learning_rates, space.weight_decays
    ):
        own = {"stages": seen, "hidden": hidden, "learning_rate": rate, "weight_decay": decay}
        found.append((base.model_copy(update=own),))
    return tuple(dict.fromkeys(found))[:LARGEST_FAMILY]


def _near_first(*lists: Sequence[Any]) -> list[tuple[Any, ...]]:
    """All combinations, those that are near the first values of each list first."""
    numbers = sorted(product(*(range(len(values)) for values in lists)), key=lambda n: (sum(n), n))
    return [tuple(values[i] for values, i in zip(lists, n, strict=True)) for n in numbers]
