"""What is talked about: a run, its classifier, and images."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from graft.chat.answer import CannotAnswerError
from graft.errors import UsageError
from graft.runs.run import Run

# Training images that are kept for an image.
NEAREST = 21

if TYPE_CHECKING:
    from graft.explanation.heat_map import Explanation
    from graft.inference.neighbors import Neighbor
    from graft.inference.prediction import Prediction
    from graft.inference.predictor import Predictor


@dataclass(frozen=True)
class Asked:
    """What a question names: images by their place from 0, classes of the run, changes of an image
    (names of graft.explanation.what_if), a term, a number from 1.
    """

    images: tuple[int, ...] = ()
    classes: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()
    term: str | None = None
    number: int | None = None


class Subject:
    """A finished run and images to talk about; `focus` is the image that "it" means.

    Raises DataError for a folder that is no finished run, UsageError for an image that is not
    there.
    """

    def __init__(self, run: str | Path, images: Sequence[str | Path] = ()) -> None:
        self.run = Run.finished(run)
        self.images = [Path(image) for image in images]
        for image in self.images:
            if not image.is_file():
                raise UsageError(f"{image}: no such image file")
        self.focus = 0
        self.in_app = False  # whether the one who asks has graft app, or else a terminal
        self._predictions: dict[int, Prediction] = {}
        self._explanations: dict[tuple[int, str | None, str | None], Explanation] = {}

    @cached_property
    def classes(self) -> list[str]:
        """The classes of the run."""
        return list(self.run.model["classes"])

    @cached_property
    def predictor(self) -> "Predictor":
        """The run's classifier, loaded when first asked for."""
        from graft.inference.saved_model import load

        return load(self.run.path)

    @cached_property
    def explain(self) -> "Callable[..., Explanation]":
        """How an explanation is computed; called with a predictor, an image, label and against."""
        from graft.explanation.heat_map import explain

        return explain

    def told(self, in_terminal: str, in_app: str) -> str:
        """Of two wordings the one for where the chat is."""
        return in_app if self.in_app else in_terminal

    def kept_in(self, files: str) -> str:
        """That an answer is from these files of the run."""
        return f"That is in {self.told(files, 'what the run keeps of its training')}."

    def name(self, place: int) -> str:
        """An image's file name."""
        return self.images[place].name

    def image(self, asked: Asked) -> int:
        """The place of the image that is asked about, which "it" means from then on."""
        if not self.images:
            raise CannotAnswerError(
                "That is a question about an image, and I was given none. "
                + self.told(
                    "Give me one after the run: graft chat RUN IMAGE.", "Drop one on this page."
                )
            )
        place = asked.images[0] if asked.images else self.focus
        if place >= len(self.images):
            raise CannotAnswerError(
                f"I was given {_images(len(self.images))}, so there is no image number {place + 1}."
            )
        self.focus = place
        return place

    def prediction(self, place: int) -> "Prediction":
        """What the classifier says of an image, with the nearest training images if it has them."""
        from graft.inference.policy import Policy

        if place not in self._predictions:
            known = (self.run.path / "neighbors.safetensors").is_file()
            policy = Policy(nearest=NEAREST if known and self.predictor.ood_detector else 0)
            try:
                found = self.predictor.predict(self.images[place], policy)
            except UsageError as error:
                raise CannotAnswerError(f"I cannot read that image: {error}.") from error
            self._predictions[place] = found
        return self._predictions[place]

    def explanation(
        self, place: int, label: str | None = None, against: str | None = None
    ) -> "Explanation":
        """Where the evidence for a class lies in an image."""
        key = (place, label, against)
        if key not in self._explanations:
            self._explanations[key] = self.explain(
                self.predictor, self.images[place], label=label, against=against
            )
        return self._explanations[key]

    def nearest(self, place: int, count: int) -> "list[Neighbor]":
        """The training images nearest to an image, at most NEAREST - 1, without that very file."""
        found = self.prediction(place).nearest or ()
        own = self._rows_of(place)
        return [each for each in found if each.path not in own][:count]

    def split_of(self, place: int) -> str | None:
        """The split that this very file was in, by its bytes; None if it was in none."""
        return next(iter(self._rows_of(place).values()), None)

    def _rows_of(self, place: int) -> dict[str, str]:
        """The path and split of each image of the run with the same bytes."""
        from graft.explanation.seen_before import splits_of

        return splits_of(self.run, self.images[place])


def _images(count: int) -> str:
    return f"{count} image{'s' * (count != 1)}"
