import re
from pathlib import Path

import pytest

import graft as package
from graft.report.numbers import NBSP, percent

# Digits by other names, so that questions can name the classes as people name flowers.
NAMES = {"0": "rose", "1": "tulip", "2": "pine cone"}
SETTINGS = {"model": "base_cnn", "image_size": 16, "epochs": 2, "views": 1}


@pytest.fixture(scope="session")
def flowers_of_digits(tmp_path_factory, make_digits):
    """A folder of 3 classes of flowers, which are digits, with 40 images each."""
    folder = make_digits(tmp_path_factory.mktemp("chat") / "flowers")
    for digit, name in NAMES.items():
        (folder / digit).rename(folder / name)
    return folder


@pytest.fixture(scope="session")
def flower_run(flowers_of_digits, tmp_path_factory):
    """The folder of a finished run of base_cnn on them."""
    out = tmp_path_factory.mktemp("runs") / "garden"
    return package.train(flowers_of_digits, out=out, **SETTINGS).path


@pytest.fixture(scope="session")
def two_images(flowers_of_digits):
    """A rose and a tulip, both of the test split or not."""
    return [sorted((flowers_of_digits / name).iterdir())[3] for name in ("rose", "tulip")]


def numbers_in(text):
    """Every number of a text, as it is written: "94.9", "2,304", "0.002", "-0.12"."""
    return re.findall(r"(?<![\w.])-?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:e-?\d+)?", text)


def forms(value):
    """How a number of the evidence may be written in a text."""
    if isinstance(value, bool) or value is None:
        return set()
    if isinstance(value, int):
        return {str(value), f"{value:,}"}
    written = {f"{value:g}", f"{value:.1f}", f"{value:.2f}", f"{value:.3f}", f"{value:.2g}"}
    written |= {f"{100 * value:.1f}", f"{100 * value:.0f}"}
    written |= set(numbers_in(percent(value).replace(NBSP, " ")))
    return written


def values_in(evidence):
    """Every number and every text of an evidence, however deep."""
    if isinstance(evidence, dict):
        for key, value in evidence.items():
            yield key
            yield from values_in(value)
    elif isinstance(evidence, list | tuple):
        for value in evidence:
            yield from values_in(value)
    else:
        yield evidence


def unfounded(answer):
    """The numbers of an answer's text that are not in its evidence."""
    text, known = answer.text, set()
    values = list(values_in(answer.evidence))
    for value in sorted(values, key=lambda each: -len(str(each))):
        if isinstance(value, str):
            known |= set(numbers_in(value))
            if not value.isdigit():  # a class may be called "3"
                text = text.replace(value, " ").replace(Path(value).name, " ")
        else:
            known |= forms(value)
    return [number for number in numbers_in(text) if number not in known]


@pytest.fixture(scope="session")
def unfounded_numbers():
    """The function `unfounded`."""
    return unfounded


@pytest.fixture(scope="session")
def talk(flower_run, two_images):
    """A chat about both images; its understanding is made once."""
    return package.Chat(flower_run, two_images)
