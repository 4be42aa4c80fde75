"""`graft train`, cold and warm, against the plain way and against one bare pass.

[ROUNDS] [--no-plain]: rounds of bare, cold and warm (default 3), medians; the plain way once.
"""

import json
import sys

from benchmarks.common import GRAFT, WEIGHTS, images, median, module, show, timed, workplace

EPOCHS = 5


def main() -> None:
    numbers = [int(a) for a in sys.argv[1:] if a.isdigit()]
    folder = images("flowers")
    bare, passes, cold, warm = [], [], [], []
    for _ in range(numbers[0] if numbers else 3):
        with workplace() as place:
            seconds, printed = timed(module("bare", folder), place / "cache")
            bare.append(seconds)
            passes.append(json.loads(printed)["pass_seconds"])
        with workplace() as place:
            train = [*GRAFT, "train", str(folder), "--model", WEIGHTS, "--views", "1", "--out"]
            cold.append(timed([*train, str(place / "cold")], place / "cache")[0])
            warm.append(timed([*train, str(place / "warm")], place / "cache")[0])
    figures = {
        "bare_process_s": median(bare),
        "bare_pass_s": median(passes),
        "cold_s": median(cold),
        "warm_s": median(warm),
        "cold_over_bare_process": median(cold) / median(bare),
        "cold_over_bare_pass": median(cold) / median(passes),
        "warm_over_cold": median(warm) / median(cold),
    }
    if "--no-plain" not in sys.argv:
        with workplace() as place:
            plain, _ = timed(module("plain", "train", folder, EPOCHS), place)
        figures |= {"plain_s": plain, "plain_over_cold": plain / median(cold)}
    show("train_speed", rounds=len(cold), epochs_plain=EPOCHS, **figures)


if __name__ == "__main__":
    main()
