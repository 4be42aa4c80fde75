import csv

import pytest

from graft.tuning.space import Space

# Small enough for a test: three penalties, one family, and none of the dear steps.
TINY = {
    "strengths": [0.01, 0.1, 1.0],
    "stages": [0],
    "hidden": [256, 0],
    "learning_rates": [2e-3, 6e-3],
    "weight_decays": [0.05, 0.5],
    "schedules": ["one-cycle"],
    "patiences": [10],
    "label_smoothing": [0.1],
    "resize": [],
    "image_scales": [],
    "views": [],
    "unfreeze": [],
    "fine_tunings": 0,
    "scratch": [],
}


@pytest.fixture(scope="session")
def tiny(finished):
    """A space that is searched in seconds, on the network of `finished`."""
    return Space(models=[str(finished)], **TINY)


@pytest.fixture(scope="session")
def write_table(digits):
    """write_table(file, poisoned=False): the digits as a table that gives the splits. Poisoned, the
    labels of test are all wrong.
    """

    def write(file, poisoned=False):
        splits = ["train", "train", "train", "val", "test"]
        wrong = {"0": "1", "1": "2", "2": "0"}
        with file.open("w", newline="") as stream:
            rows = csv.writer(stream)
            rows.writerow(["image", "label", "split"])
            for number, image in enumerate(sorted(digits.rglob("*.png"))):
                split, label = splits[number % 5], image.parent.name
                poison = poisoned and split == "test"
                rows.writerow([image, wrong[label] if poison else label, split])
        return file

    return write


@pytest.fixture(scope="session")
def tuned(tmp_path_factory, write_table, tiny):
    """What a search of the tiny space on the table found, with its run."""
    import graft

    folder = tmp_path_factory.mktemp("tuned")
    table = write_table(folder / "table.csv")
    return graft.tune(table, budget="5h", out=folder / "run", space=tiny, engine="portfolio")
