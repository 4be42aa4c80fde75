"""Talk with a classifier: `graft.Chat(run, images).ask("why?")`."""

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from graft.chat.answer import Answer, CannotAnswerError, joined
from graft.chat.intents import INTENTS, Intent
from graft.chat.slots import asked_in, masked, term_in
from graft.chat.subject import Asked, Subject
from graft.chat.understanding import OFF_TOPIC, Method, Understanding
from graft.chat.wording import plain

# What a follow-up question may consist of, besides what it names.
BETWEEN = {
    *("and", "or", "but", "so", "now", "then", "also", "too", "what", "how", "about", "with"),
    *("for", "the", "a", "an", "of", "in", "on", "at", "it", "is", "that", "this", "one", "ones"),
    *("image", "photo", "picture", "same", "again", "ok", "if", "was", "were", "more", "please"),
    *("half", "class", "me", "its", "to", "next", "number", "try", "do", "only", "just"),
}
# How it begins, unless it is as short as "the second one".
BEGINNING = re.compile(r"(and|or|but|so|now|then|ok|what about|how about|same|with|for|try)\b")
SHORT = 3
WHY = re.compile(r"(and |but |so )?(why|how come|how so|why is that|why so|what for)( then)?")
# What is offered to one whose question has no answer: what came near, then these.
NEAR = 0.15
OFFERED = ("what_is_it", "how_sure", "why")
OFFERED_WITHOUT = ("accuracy", "confusions", "photograph_next")
# After these, "why?" is about results, not about an image.
RESULTS = ("accuracy", "class_quality", "confusions", "mistakes")
NAMED = 12  # classes that are named in a sentence


class Chat:
    """A conversation with the classifier of a finished run, about `images` and about itself.

    Every answer is computed when it is asked for, from the network, the images and the files of the
    run; the same questions in the same order get the same answers. `understanding` is "minilm"
    (sentence embeddings, of graft[chat]), "tfidf", or "auto": the first of them that is installed.

    Raises DataError for a folder that is no finished run, UsageError for an image that is not
    there, ModelError for an understanding whose package is missing.
    """

    def __init__(
        self,
        run: str | Path,
        images: Sequence[str | Path] = (),
        *,
        understanding: Method = "auto",
    ) -> None:
        self.subject = Subject(run, images)
        self._method = understanding
        self._last: tuple[Intent, Asked] | None = None

    @cached_property
    def understanding(self) -> Understanding:
        """What finds the intent of a question; made when first asked."""
        return Understanding(self.subject.classes, self._method)

    def ask(self, text: str) -> Answer:
        """The answer to a question; with intent None where it cannot be answered, and then the
        text says so and names three questions that can.
        """
        asked = asked_in(text, self.subject.classes, self.subject.images)
        said = plain(text)
        found = self._follow_up(said, asked) or self._intent(text, said, asked)
        if found is None:
            return self._cannot(
                text,
                f"I cannot answer that. I tell {self._classes()} apart; I know my images, my "
                "training and my results, and nothing else.",
            )
        intent, asked = found
        try:
            return self.answer(intent.name, asked)
        except CannotAnswerError as error:
            return self._cannot(text, str(error))

    def answer(self, intent: str, asked: Asked) -> Answer:
        """The answer of one intent to what is asked; CannotAnswerError where it has none."""
        chosen = INTENTS[intent]
        answer = replace(chosen.function(self.subject, asked), intent=intent)
        self._last = (chosen, asked)
        return answer

    def _classes(self) -> str:
        names = self.subject.classes
        return joined(names) if len(names) <= NAMED else f"{len(names):,} classes"

    def _intent(self, text: str, said: str, asked: Asked) -> tuple[Intent, Asked] | None:
        name = self.understanding.intent(self._general(text))
        if name is None:
            return None
        if name == "show_filter" and "next" in said.split() and self._last:
            before, shown = self._last
            if before.name == name:
                asked = replace(asked, number=(shown.number or 1) + 1)
        return INTENTS[name], asked

    def _general(self, text: str) -> str:
        """A question with "the image" for the names of images, which say nothing of what is
        asked.
        """
        for image in self.subject.images:
            for name in (image.name, image.stem):
                text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", "the image", text, flags=re.I)
        return re.sub(r"\b(image|photo|picture) (number |no )?([3-9]|\d\d+)\b", r"\1 2", text)

    def _follow_up(self, said: str, asked: Asked) -> tuple[Intent, Asked] | None:
        """The last question again, with what this one names instead; None for a new question."""
        if self._last is None:
            return None
        intent, before = self._last
        if WHY.fullmatch(said) and intent.name in RESULTS:
            reason = "mistakes" if intent.name in ("confusions", "mistakes") else "confusions"
            return INTENTS[reason], before
        if not self._only_names(said, asked):
            return None
        if asked.changes and self.subject.images:
            return INTENTS["what_if"], asked
        if asked.number and "number" in intent.slots and not asked.images:
            return intent, replace(before, number=asked.number)
        if asked.term and intent.name == "term":
            return intent, asked
        if asked.classes:
            if "classes" in intent.slots:
                return intent, replace(asked, images=asked.images or before.images)
            if intent.name == "accuracy":
                return INTENTS["class_quality"], asked
            return (INTENTS["alternatives"], asked) if intent.needs_image else None
        if asked.images:
            if not intent.needs_image or intent.name == "compare_images":
                intent = INTENTS["what_is_it"]
            return intent, replace(before, images=asked.images)
        return None

    def _only_names(self, said: str, asked: Asked) -> bool:
        """Whether a question consists of names and of words like "and" and "what about" alone."""
        if asked == Asked():
            return False
        short = len(said.split()) <= SHORT and not said.startswith(("what", "how", "show"))
        if not (short or BEGINNING.match(said)):
            return False
        rest = masked(said, self.subject.classes, ("",))
        for image in self.subject.images:
            for name in (plain(image.name), plain(image.stem)):
                rest = rest.replace(name, "")
        words = [word for word in rest.split() if word not in BETWEEN]
        return all(_names_something(word) for word in words)

    def _cannot(self, text: str, why: str) -> Answer:
        scores = self.understanding.scores(text)
        near = [name for name, score in scores.items() if score > NEAR]
        ready = (*OFFERED, *OFFERED_WITHOUT) if self.subject.images else OFFERED_WITHOUT
        names = [name for name in (*near, *ready) if name not in (OFF_TOPIC, "help")]
        known = [INTENTS[name] for name in dict.fromkeys(names)]
        if not self.subject.images:
            known = [intent for intent in known if not intent.needs_image]
        label = self.subject.classes[0]
        three = [each.sample.format_map({"class": label}) for each in known[:3]]
        said = f"{why} You could ask: {joined([f'“{question}”' for question in three])}."
        return Answer(None, said.replace(".”.", ".”").replace("?”.", "?”"), {"could_ask": three})


def _names_something(word: str) -> bool:
    from graft.chat.slots import NUMBERS, ORDINALS, changes_in

    named = {
        *NUMBERS,
        *ORDINALS,
        "other",
        "last",
        "left",
        "right",
        "top",
        "bottom",
        "upper",
        "lower",
        "cover",
        "covered",
        "side",
        "part",
    }
    return bool(word.isdigit() or word in named or changes_in(word) or term_in(word))
