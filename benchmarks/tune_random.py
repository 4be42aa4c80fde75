"""Random search in the space of `graft tune`: a process that benchmarks/tune_search.py ends.

SOURCE OUT [--models A,B] [--seed N] [--uncached]. It draws configurations, trains each as `graft
train` would, and adds a line to OUT/found.jsonl for each that ended. By default its trials share
the cache of features, which is graft's own idea; with --uncached each computes everything anew, as
a training script under a tuner does.
"""

import argparse
import json
import os
import random
import shutil
from pathlib import Path

from benchmarks.tune_search import FOUND
from graft.config import SplitConfig
from graft.errors import GraftError
from graft.training.defaults import network
from graft.training.recipe import train
from graft.tuning import portfolio
from graft.tuning.candidate import Candidate
from graft.tuning.space import Space
from graft.tuning.winner import chosen_fit
from graft.utils.cache_folder import cache_folder
from graft.utils.progress import Progress

# What a random configuration is, by thirds.
KINDS = ("ridge", "fitted", "fine-tuning")


def drawn(space: Space, generator: random.Random) -> Candidate:
    """A random configuration of the space."""
    pick = generator.choice
    base = Candidate(model=pick(space.networks()))
    side = network(base.train_config(), cache_folder()).preprocess.height
    inputs = [base, *portfolio.other_inputs(space, base, side)]
    kind = pick(KINDS)
    if kind == "fine-tuning" and (tuned := portfolio.fine_tunings(space, base)):
        return pick(tuned)
    fed, stages = pick(inputs), pick(space.stages)
    if kind == "ridge":
        own = {"head": "ridge", "hidden": 0, "strength": pick(space.strengths)}
        return fed.model_copy(update=own | {"stages": stages})
    rates, decays = space.learning_rates, space.weight_decays
    own = {
        "hidden": pick(space.hidden),
        "stages": stages,
        "learning_rate": min(rates) * (max(rates) / min(rates)) ** generator.random(),
        "weight_decay": min(decays) * (max(decays) / min(decays)) ** generator.random(),
        "schedule": pick(space.schedules),
        "patience": pick(space.patiences),
        "label_smoothing": pick(space.label_smoothing),
    }
    return fed.model_copy(update=own)


def trial(source: str, one: Candidate, out: Path, seed: int) -> dict[str, object]:
    """What a configuration reaches on val, by which it is chosen, and on test."""
    config = one.train_config(seed=seed)
    chosen = chosen_fit((one,))
    run = train(source, config, SplitConfig(seed=seed), out, Progress(), chosen=chosen)
    _, labels, probabilities = run.predictions("val")
    return {
        "val": float((probabilities.argmax(1) == labels).mean()),
        "test": run.metrics["accuracy"],
        "winner": chosen.described["tuned"]["described"],
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("source")
    parser.add_argument("out", type=Path)
    parser.add_argument("--models", default="")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--uncached", action="store_true")
    asked = parser.parse_args()
    generator = random.Random(asked.seed)
    space = Space(models=asked.models.split(",") if asked.models else [])
    asked.out.mkdir(parents=True, exist_ok=True)
    cache, number = Path(os.environ["GRAFT_CACHE"]), 0
    while True:  # until it is ended
        one = drawn(space, generator)
        folder = asked.out / str(number)
        if asked.uncached:
            os.environ["GRAFT_CACHE"] = str(cache / str(number))
        try:
            found = trial(asked.source, one, folder, asked.seed)
        except GraftError as error:
            found = {"failed": str(error)}
        with (asked.out / FOUND).open("a") as stream:
            stream.write(json.dumps(found) + "\n")
        shutil.rmtree(folder, ignore_errors=True)
        if asked.uncached:
            shutil.rmtree(cache / str(number), ignore_errors=True)
        number += 1


if __name__ == "__main__":
    main()
