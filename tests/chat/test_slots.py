from pathlib import Path

import pytest

from graft.chat.slots import asked_in
from graft.chat.wording import plain

FLOWERS = ["rose", "tulip", "pine cone", "cone", "Daisy_Mix"]
IMAGES = [Path("in/rose_12.jpg"), Path("in/b.jpg"), Path("in/third day.png")]


def asked(text, classes=FLOWERS, images=IMAGES):
    return asked_in(text, classes, images)


@pytest.mark.parametrize(
    ("text", "classes"),
    [
        ("How good are you at tulips?", ("tulip",)),
        ("why TULIP and not rose", ("tulip", "rose")),
        ("is a pine cone a cone", ("pine cone", "cone")),
        ("pinecones", ()),
        ("daisy mix?", ("Daisy_Mix",)),
        ("primrose", ()),
    ],
)
def test_classes_are_found_by_name_singular_or_plural_the_longest_first(text, classes):
    assert asked(text).classes == classes


def test_a_digit_is_a_class_unless_it_counts_something():
    digits = ["0", "1", "2", "3"]
    assert asked("how good are you at 3s", digits).classes == ("3",)
    assert asked("show filter 3", digits).classes == ()
    assert asked("show filter 3", digits).number == 3
    assert asked("top 2", digits).classes == ()


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("and the second one?", (1,)),
        ("what is b.jpg", (1,)),
        ("what about rose_12", (0,)),
        ("image 3", (2,)),
        ("compare the first and the third image", (0, 2)),
        ("and the other one", (1,)),
        ("the last image", (2,)),
        ("photo number nine", (8,)),
        ("what is it", ()),
        ("what is the second guess", ()),
    ],
)
def test_images_are_found_by_file_number_and_order(text, places):
    assert asked(text).images == places


@pytest.mark.parametrize(
    ("text", "changes"),
    [
        ("and darker?", ("darken",)),
        ("what if I cover the left half", ("cover the left half",)),
        ("cover the right half", ("cover the right half",)),
        ("hide the upper part", ("cover the top half",)),
        ("turn it by 90 degrees", ("turn left",)),
        ("turn it upside down", ("upside down",)),
        ("in black and white, mirrored", ("mirror", "gray")),
        ("crop it", ("crop to the middle",)),
        ("remove the color", ("gray",)),
        ("what color is it", ()),
        ("brighter", ("brighten",)),
        ("you are right", ()),
    ],
)
def test_changes_are_found_in_many_words(text, changes):
    assert asked(text).changes == changes


@pytest.mark.parametrize(
    ("text", "term"),
    [
        ("what is max pooling", "pooling"),
        ("what is batch normalization", "batch-normalization"),
        ("What is a batch?", "batch"),
        ("what's an activation map", "activation-map"),
        ("what is overfitting", "overfitting"),
        ("what is a trombone", None),
    ],
)
def test_the_longest_term_is_found(text, term):
    assert asked(text).term == term


def test_wording_is_written_out():
    assert plain("What's  THAT, pls?") == "what is that please"
    assert plain("isn’t it 0.5%…") == "is not it 0.5%"
    assert plain("why u say this") == "why you say this"
