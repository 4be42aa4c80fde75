"""Large JPEGs as files and as Pillow images: how far apart `predict` is, whether a label changes.

[COUNT [RUN]]: by default 500 photos of flowers, enlarged to 12 megapixels with noise as cameras
have it, and a run of the default network on flowers. A file is decoded at a fraction of its size
where that is enough; a Pillow image has all its pixels.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.common import GRAFT, WEIGHTS, photos, show, timed, workplace
from graft.inference.policy import Policy
from graft.inference.saved_model import load

SIZE = (4000, 3000)


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    files = photos("flowers")
    random = np.random.default_rng(0)
    noise = random.normal(0, 6, (SIZE[1], SIZE[0], 3)).astype(np.float32)
    largest, apart, labels, refusals = 0.0, 0, 0, 0
    with workplace() as place:
        run = Path(sys.argv[2]) if len(sys.argv) > 2 else place / "run"
        if len(sys.argv) <= 2:
            command = [*GRAFT, "train", str(files[0].parent.parent), "--model", WEIGHTS]
            timed([*command, "--out", str(run)], place / "cache")
        predictor, policy = load(run), Policy()
        large = place / "large.jpg"
        for i in random.permutation(len(files))[:count]:
            photo = Image.open(files[i]).convert("RGB").resize(SIZE, Image.Resampling.BICUBIC)
            shifted = np.roll(noise, tuple(random.integers(0, 3000, 2)), axis=(0, 1))
            pixels = (np.asarray(photo, np.float32) + shifted).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(large, quality=92)
            of_file = predictor.predict(large, policy)
            with Image.open(large) as image:
                of_image = predictor.predict(image, policy)
            away = max(
                abs(value - of_image.probabilities[name])
                for name, value in of_file.probabilities.items()
            )
            largest, apart = max(largest, away), apart + (away > 0.01)
            labels += of_file.best_guess != of_image.best_guess
            refusals += of_file.reason != of_image.reason
    show(
        "large_photos",
        backend=predictor.backend.name,
        photos=count,
        largest_difference=largest,
        more_than_a_hundredth_apart=apart,
        labels_that_differ=labels,
        refusals_that_differ=refusals,
    )


if __name__ == "__main__":
    main()
