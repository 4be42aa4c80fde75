"""Test accuracy at the defaults, mean of three seeds. [NAME…]: flowers, cats_dogs."""

import json
import statistics
import sys

from benchmarks.common import GRAFT, WEIGHTS, pictures, show, timed, workplace

SEEDS = (42, 43, 44)


def main() -> None:
    for name in sys.argv[1:] or ("flowers", "cats_dogs"):
        accuracies, seconds = [], []
        with workplace() as place:
            for seed in SEEDS:
                command = [*GRAFT, "train", str(pictures(name)), "--model", WEIGHTS, "--json"]
                command += ["--seed", str(seed), "--out", str(place / str(seed))]
                took, printed = timed(command, place / "cache")
                accuracies.append(json.loads(printed)["accuracy"]["value"])
                seconds.append(took)
        show("accuracy", data=name, mean=statistics.mean(accuracies), seeds=accuracies, s=seconds)


if __name__ == "__main__":
    main()
