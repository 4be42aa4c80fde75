"""Test accuracy at the defaults, mean of three seeds.

[NAME…] [--unfreeze WHAT] [--seeds N]: flowers, cats_dogs; the default network, frozen by default.
"""

import argparse
import json
import statistics

from benchmarks.common import GRAFT, IS_SMALL, WEIGHTS, images, show, timed, workplace

SEEDS = (42, 43, 44)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument(
        "names", nargs="*", default=["digits"] if IS_SMALL else ["flowers", "cats_dogs"]
    )
    parser.add_argument("--unfreeze", default="none")
    parser.add_argument("--seeds", type=int, default=len(SEEDS))
    chosen = parser.parse_args()
    for name in chosen.names:
        accuracies, seconds = [], []
        with workplace() as place:
            for seed in SEEDS[: chosen.seeds]:
                command = [*GRAFT, "train", str(images(name)), "--model", WEIGHTS, "--json"]
                command += ["--unfreeze", chosen.unfreeze]
                command += ["--seed", str(seed), "--out", str(place / str(seed))]
                took, printed = timed(command, place / "cache")
                accuracies.append(json.loads(printed)["accuracy"]["value"])
                seconds.append(round(took))
        show(
            "accuracy",
            data=name,
            unfreeze=chosen.unfreeze,
            mean=statistics.mean(accuracies),
            seeds=accuracies,
            s=seconds,
        )


if __name__ == "__main__":
    main()
