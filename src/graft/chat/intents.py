"""What can be asked: each intent with the function that answers it and a question for it."""

from collections.abc import Callable
from dataclasses import dataclass

from graft.chat import (
    about_image,
    about_learning,
    about_network,
    about_reasons,
    about_results,
    about_training,
)
from graft.chat.answer import Answer, answer, joined
from graft.chat.subject import Asked, Subject
from graft.report.numbers import quoted

Function = Callable[[Subject, Asked], Answer]


@dataclass(frozen=True)
class Intent:
    """One kind of question. `sample` asks it, {class} being a class of the run. `slots` are the
    fields of Asked that its function reads.
    """

    name: str
    function: Function
    sample: str
    slots: tuple[str, ...] = ()

    @property
    def needs_image(self) -> bool:
        """Whether it is about an image."""
        return "images" in self.slots

    @property
    def description(self) -> str:
        """The first line of its function's docstring."""
        return (self.function.__doc__ or "").partition("\n")[0]


def helped(subject: Subject, asked: Asked) -> Answer:
    """What can be asked."""
    known = subject.classes[0]
    about = {
        "about an image": [each for each in INTENTS.values() if each.needs_image],
        "about my results and your data": [
            INTENTS[n]
            for n in (
                "accuracy",
                "class_quality",
                "confusions",
                "trust",
                "data_problems",
                "photograph_next",
            )
        ],
        "about how I was trained and built": [
            INTENTS[n]
            for n in (
                "how_trained",
                "training_size",
                "parameters",
                "architecture",
                "input_size",
                "show_filter",
            )
        ],
        "about words": [INTENTS["term"]],
    }
    said = [
        f"I am the classifier of run {subject.run.name}, and I know {joined(_named(subject))}. "
        "Ask me, for example:"
    ]
    asked_for: dict[str, list[str]] = {}
    for topic, intents in about.items():
        questions = [each.sample.format_map({"class": known}) for each in intents[:7]]
        asked_for[topic] = questions
        said.append(f"\n· {topic}: {' '.join(questions)}")
    said.append("\nI cannot count objects, name colors or describe scenes.")
    evidence = {"classes": subject.classes, "questions": asked_for}
    return answer(said, "", evidence)


def _named(subject: Subject) -> list[str]:
    names = [quoted(name) for name in subject.classes]
    return names if len(names) <= 8 else [*names[:7], f"{len(names) - 7} other classes"]


IMAGE, CLASS = ("images",), ("classes",)
INTENTS = {
    each.name: each
    for each in (
        Intent("what_is_it", about_image.what_is_it, "What is it?", (*IMAGE, *CLASS)),
        Intent("how_sure", about_image.how_sure, "How sure are you?", (*IMAGE, *CLASS)),
        Intent(
            "alternatives",
            about_image.alternatives,
            "What else could it be?",
            (*IMAGE, *CLASS, "number"),
        ),
        Intent("why", about_reasons.why, "Why?", (*IMAGE, *CLASS)),
        Intent("why_not", about_reasons.why_not, "Why not {class}?", (*IMAGE, *CLASS)),
        Intent("where_looked", about_reasons.where_looked, "Where did you look?", (*IMAGE, *CLASS)),
        Intent("what_if", about_reasons.changed, "What if it was darker?", (*IMAGE, "changes")),
        Intent(
            "nearest",
            about_image.nearest,
            "What does it look like among your training images?",
            (*IMAGE, "number"),
        ),
        Intent("familiar", about_image.familiar, "Have you seen such an image?", IMAGE),
        Intent("compare_images", about_image.compare_images, "Compare these two.", IMAGE),
        Intent("accuracy", about_results.accuracy, "How good are you?"),
        Intent("class_quality", about_results.class_quality, "How good are you at {class}?", CLASS),
        Intent("confusions", about_results.confusions, "What do you confuse?", CLASS),
        Intent(
            "mistakes",
            about_results.mistakes,
            "Which test images did you get wrong?",
            (*CLASS, "number"),
        ),
        Intent("trust", about_results.trust, "Can I trust you?"),
        Intent("overfitting_check", about_training.overfitting_check, "Did you overfit?"),
        Intent("how_trained", about_training.how_trained, "How were you trained?"),
        Intent(
            "training_size",
            about_training.training_size,
            "On how many images were you trained?",
            CLASS,
        ),
        Intent("classes", about_training.classes, "Which classes do you know?", CLASS),
        Intent("data_problems", about_training.data_problems, "Is anything wrong with my data?"),
        Intent("photograph_next", about_results.photograph_next, "What should I photograph next?"),
        Intent("parameters", about_network.parameters, "How many parameters have you?"),
        Intent("architecture", about_network.architecture, "What network are you?"),
        Intent("input_size", about_network.input_size, "Which image size do you see, and why?"),
        Intent("show_filter", about_network.show_filter, "Show filter 3.", ("number",)),
        Intent("term", about_learning.term, "What is a convolution?", ("term",)),
        Intent("help", helped, "What can you do?"),
    )
}
