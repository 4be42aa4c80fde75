"""`graft tune` against random search in the same space, for the same time on the wall clock.

[NAME…] [--minutes 2,10,30] [--engines tune,portfolio,random,autogluon] [--seed N]: flowers,
cats_dogs, cifar10 (a tenth of its images). Each engine begins with an empty cache. Random search
draws configurations from the space that `graft tune --space` prints, trains each as `graft train`
would, keeps the best on val, and reads test for that one alone; its trials share the cache of
features, and one that ends after the time does not count. AutoGluon MultiModal runs at its presets
where it is installed.
"""

import argparse
import csv
import json
import os
import random
import sys
import time
from importlib.util import find_spec
from pathlib import Path

from benchmarks.common import GRAFT, IS_SMALL, images, module, photos, show, timed, workplace

TENTH = 10
# What a random configuration is, by thirds: a ridge head, a fitted head, a fine-tuning.
KINDS = ("ridge", "fitted", "fine-tuning")


def source_of(name: str, place: Path) -> Path:
    """The folder of a dataset; of CIFAR-10 a table of every tenth image of each class."""
    if name != "cifar10":
        return images(name)
    table = place / "cifar10.csv"
    by_class: dict[str, list[Path]] = {}
    for file in photos(name):
        by_class.setdefault(file.parent.name, []).append(file)
    with table.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["image", "label"])
        for label, files in by_class.items():
            writer.writerows([file, label] for file in files[::TENTH])
    return table


def drawn(space: object, generator: random.Random) -> object:
    """A random configuration of the space."""
    from graft.training.defaults import network
    from graft.tuning import portfolio
    from graft.tuning.candidate import Candidate
    from graft.tuning.space import Space
    from graft.utils.cache_folder import cache_folder

    assert isinstance(space, Space)
    pick = generator.choice
    base = Candidate(model=pick(space.networks()))
    side = network(base.train_config(), cache_folder()).preprocess.height
    inputs = [base, *portfolio.other_inputs(space, base, side)]
    kind = pick(KINDS)
    if kind == "fine-tuning" and space.fine_tunings:
        return pick(portfolio.fine_tunings(space, base))
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


def random_search(source: str, seconds: float, out: Path, seed: int) -> None:
    """Random configurations until the time is over; prints the best on val, and its test."""
    from graft.config import SplitConfig
    from graft.errors import GraftError
    from graft.training.recipe import train
    from graft.tuning.space import Space
    from graft.tuning.winner import chosen_fit
    from graft.utils.progress import Progress

    began, generator = time.perf_counter(), random.Random(seed)
    best, number, ended = None, 0, 0.0
    models = json.loads(os.environ.get("TUNE_SEARCH_MODELS", "[]"))
    space = Space(models=models)
    while time.perf_counter() - began < seconds:
        one = drawn(space, generator)
        try:
            run = train(
                source,
                one.train_config(seed=seed),
                SplitConfig(seed=seed),
                out / str(number),
                Progress(),
                chosen=chosen_fit((one,)),
            )
        except GraftError:
            continue
        if (now := time.perf_counter() - began) > seconds and best:
            break  # it came too late
        number, ended = number + 1, now
        _, labels, probabilities = run.predictions("val")
        val = float((probabilities.argmax(1) == labels).mean())
        if best is None or val > best[0]:
            best = (val, run)
    assert best is not None
    found = {"val": best[0], "test": best[1].metrics["accuracy"], "trials": number}
    print(json.dumps(found | {"seconds": ended, "spent": time.perf_counter() - began}))


def autogluon(source: Path, seconds: float) -> dict[str, object] | None:
    """AutoGluon's MultiModal predictor on the same split; None where it is not installed."""
    if find_spec("autogluon") is None:
        return None
    sys.exit(
        f"autogluon is installed: fit MultiModalPredictor on {source} for {seconds:.0f} s here, on "
        "the train and val of a run's dataset.csv, and test it on its test"
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    default = ["flowers"] if IS_SMALL else ["flowers", "cats_dogs", "cifar10"]
    parser.add_argument("names", nargs="*", default=default)
    parser.add_argument("--minutes", default="0.5" if IS_SMALL else "2,10,30")
    parser.add_argument("--engines", default="tune,random,autogluon")
    parser.add_argument("--models", default="", help="by default those on this machine")
    parser.add_argument("--seed", type=int, default=42)
    chosen = parser.parse_args()
    if chosen.models:
        os.environ["TUNE_SEARCH_MODELS"] = json.dumps(chosen.models.split(","))
    if chosen.names[0] == "random-search":  # a process of its own, as graft tune is
        _, source, seconds, out = chosen.names
        random_search(source, float(seconds), Path(out), chosen.seed)
        return
    for name in chosen.names:
        for minutes in chosen.minutes.split(","):
            for engine in chosen.engines.split(","):
                with workplace() as place:
                    compared(engine, name, float(minutes) * 60, place, chosen)


def compared(
    engine: str, name: str, seconds: float, place: Path, chosen: argparse.Namespace
) -> None:
    """One line: what an engine reaches on a dataset in so much time."""
    source = source_of(name, place)
    about = {"data": name, "budget_s": seconds, "engine": engine, "seed": chosen.seed}
    if engine == "autogluon":
        found = autogluon(source, seconds)
        show("tune_search", **about, result=found or "not installed")
        return
    if engine == "random":
        command = module("tune_search", "random-search", source, seconds, place / "runs")
        command += ["--seed", str(chosen.seed)]
    else:
        kind = {"tune": "auto"}.get(engine, engine)
        command = [*GRAFT, "tune", str(source), "--budget", f"{seconds}s", "--engine", kind]
        command += ["--seed", str(chosen.seed), "--out", str(place / "run"), "--json"]
        if chosen.models:
            command += ["--models", chosen.models]
    took, printed = timed(command, place / "cache")
    found = json.loads(printed.splitlines()[-1])
    trials = found["trials"]
    show(
        "tune_search",
        **about,
        test=round(found["test"]["value"], 4),
        low=round(found["test"]["low"], 4),
        high=round(found["test"]["high"], 4),
        selected_by=round(found.get("val", found.get("cross_validated", 0.0)), 4),
        trials=trials if isinstance(trials, int) else len(trials),
        winner=found.get("winner_described", ""),
        s=round(took, 1),
    )


if __name__ == "__main__":
    main()
