"""The terms that a page uses, each explained in two lines; docs/glossary.md says more of them."""

from collections.abc import Iterable
from dataclasses import dataclass

from markupsafe import Markup


@dataclass(frozen=True)
class Term:
    """A term as a heading names it, and what it means."""

    name: str
    meaning: str


# By the end of the address: #glossary-ece on a page, #ece in docs/glossary.md.
GLOSSARY = {
    "confidence-interval": Term(
        "95 % interval",
        "The range in which the true value plausibly lies, given how few images it was measured "
        "on. Of 100 such intervals about 95 contain it. More test images make it narrower.",
    ),
    "abstain": Term(
        "Abstain",
        "To give no label: the model says “none of these” for an image that looks unlike its "
        "training images, or that it is not sure enough about.",
    ),
    "accuracy": Term(
        "Accuracy",
        "The fraction of test images that are classified correctly. Common classes count for more "
        "in it than rare ones.",
    ),
    "activation-map": Term(
        "Activation map",
        "What one channel of a layer gives for an image, as an image: bright where the channel "
        "found what it looks for.",
    ),
    "attention": Term(
        "Attention",
        "In a vision transformer, how much of each patch is mixed into another one, or into the "
        "answer. The weights of all patches sum to 1.",
    ),
    "backbone": Term(
        "Backbone",
        "The large network that turns an image into features, a list of numbers. It usually comes "
        "pretrained on millions of other images.",
    ),
    "baseline": Term(
        "Baseline",
        "The accuracy of a rule that needs no model: always predict the most common class. A good "
        "model has to beat it.",
    ),
    "calibration": Term(
        "Calibration",
        "A model is calibrated if its probabilities mean what they say: of the images it is 80 % "
        "sure of, 80 % are classified correctly.",
    ),
    "channel": Term(
        "Channel",
        "One of the numbers that each place of an image or of a map inside the network has. A "
        "color image has three: red, green and blue.",
    ),
    "confusion-matrix": Term(
        "Confusion matrix",
        "A table of true classes (rows) against predicted classes (columns). The diagonal counts "
        "correct predictions; every other cell is a kind of mistake.",
    ),
    "convolution": Term(
        "Convolution",
        "A layer that looks for small patterns, such as edges, everywhere in the image with the "
        "same few weights.",
    ),
    "coverage": Term(
        "Coverage",
        "How often a prediction set contains the true label. A coverage of 95 % misses it for 5 "
        "images in 100.",
    ),
    "cross-validation": Term(
        "Cross-validation",
        "Training several times, each time with another fold of the images as the test split, so "
        "that every image is tested once.",
    ),
    "early-stopping": Term(
        "Early stopping",
        "Ending training when the validation loss no longer falls, and keeping the best epoch.",
    ),
    "ece": Term(
        "Expected calibration error (ECE)",
        "The average gap between predicted probability and accuracy. 0 is perfect; at 5 % the "
        "model is typically 5 percentage points too sure or not sure enough.",
    ),
    "epoch": Term(
        "Epoch",
        "One pass over the training images. Training takes many; the epoch with the lowest "
        "validation loss is kept.",
    ),
    "error-budget": Term(
        "Error budget",
        "The largest fraction of answers that you accept to be wrong. The model keeps it by "
        "answering only where it is sure enough, and abstaining otherwise.",
    ),
    "f1": Term(
        "F1",
        "One number for precision and recall together (their harmonic mean). It is high only if "
        "both are. Macro F1 is the mean over the classes, so rare classes count as much as others.",
    ),
    "feature": Term(
        "Feature",
        "A number that says how much of something is in an image. The backbone gives hundreds of "
        "them; the head weighs them.",
    ),
    "fine-tuning": Term(
        "Fine-tuning",
        "Training the last layers of a pretrained backbone too, and not only the new head on top "
        "of it.",
    ),
    "frozen": Term(
        "Frozen",
        "Not changed by training. What is frozen gives the same result for an image every time, "
        "so it is computed once.",
    ),
    "group": Term(
        "Group",
        "Images that belong together, such as those of one patient or one camera burst. A group "
        "stays in one split, so that the test images are really new.",
    ),
    "head": Term(
        "Head",
        "The small last part of the model: it turns the backbone's features into one probability "
        "for each class.",
    ),
    "heat-map": Term(
        "Heat map",
        "An image of how much each place speaks for the predicted class. It says where the "
        "network looked, not what it saw there.",
    ),
    "image-size": Term(
        "Image size",
        "The pixels a side that every image is resized to. Most networks were pretrained at 224: "
        "small enough to be fast, and a number that can be halved five times.",
    ),
    "label-error": Term(
        "Label error",
        "An image whose label is probably wrong: it resembles the images of another class more "
        "than those of its own.",
    ),
    "learning-curve": Term(
        "Learning curve",
        "Accuracy against the number of training images. If it is still rising, more images would "
        "help.",
    ),
    "learning-rate": Term(
        "Learning rate",
        "How far the weights move in one step of training. Too high and they never settle, too "
        "low and they hardly learn.",
    ),
    "loss": Term(
        "Loss",
        "What training makes small: it is high where the model gives the true class a low "
        "probability (cross-entropy).",
    ),
    "near-duplicate": Term(
        "Near-duplicates",
        "Images that show almost the same: resized, cropped or edited copies, or shots of one "
        "scene. Graft keeps them in one split.",
    ),
    "nearest-training-images": Term(
        "Nearest training images",
        "The training images whose features are most similar to those of an image. They hint at "
        "why the model decided as it did.",
    ),
    "out-of-distribution": Term(
        "Out of distribution (OOD)",
        "An image that looks unlike the training images, such as a car among flowers. The model "
        "abstains instead of guessing.",
    ),
    "overfitting": Term(
        "Overfitting",
        "Learning the training images by heart: right on them and wrong on new ones.",
    ),
    "parameter": Term(
        "Parameter",
        "One adjustable number of a network, also called a weight. Training is finding good "
        "values for them.",
    ),
    "pixel": Term(
        "Pixel",
        "One dot of an image: three numbers from 0 to 255, for red, green and blue.",
    ),
    "pooling": Term(
        "Pooling",
        "Replacing neighboring values by their mean or maximum: the map becomes smaller, and "
        "small shifts of the object matter less.",
    ),
    "precision": Term(
        "Precision",
        "Of the images predicted as a class, the fraction that belongs to it. Low precision means "
        "false alarms.",
    ),
    "prediction-set": Term(
        "Prediction set",
        "All labels that are likely enough for an image, instead of one. The set grows where the "
        "model is unsure, so that it contains the true label as often as you ask.",
    ),
    "recall": Term(
        "Recall",
        "Of the images that belong to a class, the fraction that is found. Low recall means "
        "misses.",
    ),
    "shortcut": Term(
        "Shortcut",
        "Something beside the object that gives the class away, such as a frame or the light. A "
        "model learns it instead of the object, and fails where it is missing.",
    ),
    "softmax": Term(
        "Softmax",
        "Turns the network's scores into probabilities: each is e to the power of the score, "
        "divided by the sum of all of them.",
    ),
    "temperature": Term(
        "Temperature",
        "One number that the model's scores are divided by, found on the validation images, to "
        "calibrate its probabilities. It never changes which class is predicted.",
    ),
    "train-validation-test": Term(
        "Train, validation and test split",
        "The model learns from the training images. The validation images decide when to stop and "
        "set its probabilities. The test images are used once, for the results.",
    ),
    "transfer-learning": Term(
        "Transfer learning",
        "Using what a network has learned from millions of other images. Edges, textures and "
        "shapes need not be learned again, so few images of yours are enough.",
    ),
    "transformer": Term(
        "Transformer",
        "A family of networks (ViT, DeiT, Swin) that cut the image into patches and let each "
        "patch look at all the others.",
    ),
}


class TermsUsed:
    """The terms that a page links to, so that its glossary explains these and no others."""

    def __init__(self) -> None:
        self.slugs: set[str] = set()

    def link(self, slug: str, text: str | None = None) -> Markup:
        """A link to the term in the page's glossary; KeyError for a term that is not in it."""
        term = GLOSSARY[slug]
        self.slugs.add(slug)
        return Markup('<a class="term" href="#glossary-{}">{}</a>').format(slug, text or term.name)

    def explained(self) -> list[tuple[str, Term]]:
        """The terms used so far, in the order of their names."""
        return [(slug, GLOSSARY[slug]) for slug in sorted(self.slugs, key=_name)]


def words(slugs: Iterable[str]) -> list[dict[str, str]]:
    """Terms for a page of the app: their `name` and `meaning`."""
    return [{"name": GLOSSARY[slug].name, "meaning": GLOSSARY[slug].meaning} for slug in slugs]


def _name(slug: str) -> str:
    return GLOSSARY[slug].name.lower()
