"""`graft tune` against random search in the same space, for the same time on the wall clock.

[NAME…] [--minutes 2,10,30] [--engines tune,random,random-uncached,autogluon] [--seeds 42]
[--models A,B] [--results FILE] [--autogluon PYTHON]: flowers, cats_dogs, cifar10 (a tenth of its
images). It prints one table; with --results each figure is kept in FILE (a JSON object a line) as
soon as it is measured, and the same command goes on from there.

Engines: `tune` (Optuna where it is installed), `portfolio`, `optuna`; `random` (its trials share
graft's cache of features), `random-uncached` (each trial computes all of it, as a training script
under a tuner does), `autogluon` (MultiModalPredictor at its presets, by the Python of another
environment: benchmarks/tune_autogluon.py). Each begins with an empty cache; the time is that of the
whole process. Random search is ended when its time is over: it keeps the best on val of the trials
that ended, and reads test for that one alone. All have the same split.
"""

import argparse
import csv
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.common import GRAFT, IS_SMALL, WEIGHTS, images, module, photos, timed, workplace

TENTH = 10
FOUND = "found.jsonl"  # of benchmarks/tune_random.py: a line a trial that ended
RANDOM = {"random": [], "random-uncached": ["--uncached"]}
KEY = ("data", "minutes", "engine", "seed", "models")
COLUMNS = (
    "data",
    "minutes",
    "engine",
    "seed",
    "accuracy on test (95 % interval)",
    "seconds",
    "of the budget",
    "trials",
    "winner",
)


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


def by_tune(source: Path, seconds: float, place: Path, about: dict[str, object]) -> dict:
    """What `graft tune` reaches."""
    kind = {"tune": "auto"}.get(str(about["engine"]), str(about["engine"]))
    command = [*GRAFT, "tune", str(source), "--budget", f"{seconds}s", "--engine", kind]
    command += ["--seed", str(about["seed"]), "--out", str(place / "run"), "--json"]
    command += ["--models", str(about["models"])] if about["models"] else []
    took, printed = timed(command, place / "cache")
    found = json.loads(printed)
    return {
        "test": found["test"],
        "chosen_by": found["cross_validated"],
        "trials": len(found["trials"]),
        "winner": found["winner_described"],
        "after_search": found.get("after_search"),
        "seconds": took,
    }


def by_random(source: Path, seconds: float, place: Path, about: dict[str, object]) -> dict:
    """What random search reaches; no `test` where no trial ended in time."""
    out = place / "runs"
    command = module("tune_random", source, out, "--seed", about["seed"])
    command += ["--models", str(about["models"])] if about["models"] else []
    command += RANDOM[str(about["engine"])]
    environment = os.environ | {"GRAFT_CACHE": str(place / "cache")}
    began = time.perf_counter()
    with (place / "said").open("w") as said:
        process = subprocess.Popen(command, env=environment, stdout=said, stderr=said)
        try:
            process.wait(seconds)
            sys.exit(f"{' '.join(command)} ended:\n{(place / 'said').read_text()}")
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    took = time.perf_counter() - began
    file = out / FOUND
    rows = [json.loads(line) for line in file.read_text().splitlines()] if file.is_file() else []
    ended = [row for row in rows if "val" in row]
    best = max(ended, key=lambda row: row["val"], default={"winner": "no trial ended in time"})
    return {
        "test": best.get("test"),
        "chosen_by": best.get("val"),
        "trials": len(ended),
        "failed": len(rows) - len(ended),
        "winner": best["winner"],
        "seconds": took,
    }


def split_of(source: Path, seed: int, kept: Path, place: Path) -> Path:
    """The table of images and splits that graft makes of a source with this seed."""
    if not kept.is_file():
        out = place / "split"
        command = [*GRAFT, "train", str(source), "--seed", str(seed), "--out", str(out)]
        timed([*command, "--epochs", "1"], place / "cache")
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(out / "dataset.csv", kept)
    return kept


def checkpoint_of(place: Path) -> Path:
    """The network of the benchmarks as AutoGluon reads one: no hub is needed, and all engines have
    the same weights.
    """
    import timm
    import torch

    from graft.models.weights import find_backbone
    from graft.utils.cache_folder import cache_folder

    backbone = find_backbone(WEIGHTS, cache_folder())
    fed, folder = backbone.preprocess, place / backbone.architecture
    folder.mkdir()
    model = timm.create_model(backbone.architecture, pretrained=False, num_classes=0)
    known = set(model.state_dict())
    state = {k: v for k, v in backbone.build().body.state_dict().items() if k in known}
    model.load_state_dict(state)
    torch.save(state, folder / "pytorch_model.bin")
    config = {
        "architecture": backbone.architecture,
        "num_features": model.num_features,
        "input_size": [3, fed.height, fed.width],
        "mean": list(fed.mean),
        "std": list(fed.std),
        "crop_pct": fed.crop,
        "interpolation": fed.interpolation,
    }
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def by_autogluon(source: Path, seconds: float, place: Path, about: dict[str, object]) -> dict:
    """What AutoGluon's MultiModalPredictor reaches on the same images and splits."""
    from graft.evaluation.intervals import wilson

    python, presets = str(about["python"]), str(about["presets"])
    split = split_of(source, int(str(about["seed"])), place / "dataset.csv", place)
    root = source if source.is_dir() else source.parent
    script = Path(__file__).with_name("tune_autogluon.py")
    command = [python, str(script), str(split), str(root), str(place / "autogluon")]
    command += ["--seconds", str(seconds), "--presets", presets, "--seed", str(about["seed"])]
    command += ["--checkpoint", str(checkpoint_of(place))]
    took, printed = timed(command, place / "cache")
    found = json.loads(printed.splitlines()[-1])
    right, n = found.pop("right"), found.pop("n")
    low, high = wilson(right, n)
    test = {"value": right / n, "low": low, "high": high, "n": n}
    return {"test": test, **found, "seconds": took}


def measured(about: dict[str, object]) -> dict[str, object]:
    """One row: what an engine reaches on a dataset in so much time."""
    seconds, engine = float(str(about["minutes"])) * 60, str(about["engine"])
    with workplace() as place:
        source = source_of(str(about["data"]), place)
        if engine == "autogluon":
            found = by_autogluon(source, seconds, place, about)
        else:
            found = (by_random if engine in RANDOM else by_tune)(source, seconds, place, about)
    return {**{name: about[name] for name in KEY}, **found}


def known(results: Path | None) -> dict[tuple[object, ...], dict[str, object]]:
    """The rows that were measured before, by what they are of."""
    if results is None or not results.is_file():
        return {}
    rows = [json.loads(line) for line in results.read_text().splitlines() if line.strip()]
    return {tuple(row[name] for name in KEY): row for row in rows}


def table(rows: list[dict[str, object]]) -> str:
    """The rows as a table of Markdown."""
    lines = [COLUMNS, ["---"] * len(COLUMNS)]
    for row in rows:
        test, seconds = row["test"], float(str(row["seconds"]))
        accuracy = "none"
        if isinstance(test, dict):
            accuracy = f"{test['value']:.1%} ({test['low']:.1%} to {test['high']:.1%})"
        share = seconds / (float(str(row["minutes"])) * 60)
        own = [row["data"], f"{row['minutes']:g}", row["engine"], row["seed"], accuracy]
        lines.append([*own, f"{seconds:.0f}", f"{share:.0%}", row["trials"], row["winner"]])
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser()
    default = ["flowers"] if IS_SMALL else ["flowers", "cats_dogs", "cifar10"]
    parser.add_argument("names", nargs="*", default=default)
    parser.add_argument("--minutes", default="0.5" if IS_SMALL else "2,10,30")
    parser.add_argument("--engines", default="tune,random,random-uncached,autogluon")
    parser.add_argument("--models", default="", help="by default those on this machine")
    parser.add_argument("--seeds", default="42")
    parser.add_argument("--results", type=Path, help="keeps each figure, and goes on from there")
    parser.add_argument("--autogluon", help="the Python of an environment with AutoGluon")
    parser.add_argument("--presets", default="medium_quality", help="of AutoGluon")
    asked = parser.parse_args()
    before, rows = known(asked.results), []
    for name in asked.names:
        for minutes in map(float, asked.minutes.split(",")):
            for engine in asked.engines.split(","):
                for seed in map(int, asked.seeds.split(",")):
                    models = asked.models if engine != "autogluon" else asked.presets
                    row = before.get((name, minutes, engine, seed, models))
                    if row is None:
                        if engine == "autogluon" and not asked.autogluon:
                            print("autogluon: left out, for want of --autogluon", file=sys.stderr)
                            continue
                        about = dict(zip(KEY, (name, minutes, engine, seed, models), strict=True))
                        more = {"python": asked.autogluon, "presets": asked.presets}
                        row = measured({**about, **more})
                        print(json.dumps(row), file=sys.stderr, flush=True)
                        if asked.results:
                            with asked.results.open("a") as stream:
                                stream.write(json.dumps(row) + "\n")
                    rows.append(row)
    if IS_SMALL:
        print("small: digits, a network trained on digits")
    print(table(rows))


if __name__ == "__main__":
    main()
