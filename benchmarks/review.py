"""Planted wrong labels, decided in the order of `graft review`: how many are found after how many.

[DATASET [SHARE]]: by default 5 % of the labels of cats_dogs, changed at random (seed 0). Every
decision is right, as a careful person's would be; images that are never shown stay wrong. Then
what the decisions did to the accuracy, and because of which images.
"""

import hashlib
import random
import shutil
import sys
from pathlib import Path

import graft
from benchmarks.common import images, show, workplace

AFTER = (20, 40, 60, 100, 200, 330)  # a hundred in three minutes are 330 in ten


def planted(source: Path, place: Path, share: float) -> tuple[dict[str, str], set[str]]:
    """Copy the images with some labels changed; true labels and the changed ones, by SHA-256."""
    chance = random.Random(0)
    classes = sorted(folder.name for folder in source.iterdir() if folder.is_dir())
    files = [(file, name) for name in classes for file in sorted((source / name).iterdir())]
    chosen = set(chance.sample(range(len(files)), round(share * len(files))))
    truth, wrong = {}, set()
    for number, (file, name) in enumerate(files):
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        label = name
        if number in chosen:
            label = chance.choice([other for other in classes if other != name])
            wrong.add(digest)
        truth.setdefault(digest, name)
        (place / label).mkdir(parents=True, exist_ok=True)
        shutil.copy(file, place / label / f"{name}-{file.name}")
    return truth, wrong


def main() -> None:
    name = sys.argv[1] if len(sys.argv) > 1 else "cats_dogs"
    share = float(sys.argv[2]) if len(sys.argv) > 2 else 0.05
    with workplace() as place:
        truth, wrong = planted(images(name), place / "images", share)
        review = graft.review_labels(place / "images")
        listed, blind = review.suspects()
        decided: dict[str, str] = {}
        found: dict[int, float] = {}
        for number, suspect in enumerate([*listed, *blind], 1):
            decided[suspect.sha256] = truth[suspect.sha256]
            if number in AFTER or number == len(listed) + len(blind):
                found[number] = len(wrong & set(decided)) / len(wrong)
        show(
            "review",
            images=len(truth),
            planted=len(wrong),
            listed=len(listed),
            test_images_apart=len(blind),
            found_after={str(number): round(value, 3) for number, value in found.items()},
            effect=str(review.effect(decided)),
        )


if __name__ == "__main__":
    main()
