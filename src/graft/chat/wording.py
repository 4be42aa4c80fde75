"""A question in plain words: lower case, contractions and messengers' spelling written out."""

import re

# Written out before anything is compared; with an apostrophe or without one.
CONTRACTIONS = (
    (r"\bwon'?t\b", "will not"),
    (r"\bcan'?t\b", "can not"),
    (r"\b(is|was|are|were|do|does|did|should|would|could|have|has)n'?t\b", r"\1 not"),
    (r"\b(what|who|how|where|that|it|there|which|why|when)'?s\b", r"\1 is"),
    (r"'d\b", " would"),
    (r"'ll\b", " will"),
    (r"'re\b", " are"),
    (r"'ve\b", " have"),
    (r"\bi'm\b", "i am"),
)
SHORT = {
    "u": "you",
    "ur": "your",
    "r": "are",
    "y": "why",
    "urself": "yourself",
    "pls": "please",
    "plz": "please",
    "pic": "photo",
    "pics": "photos",
    "img": "image",
    "imgs": "images",
    "thx": "thanks",
    "wanna": "want to",
    "gonna": "going to",
    "dont": "do not",
    "cuz": "because",
    "cause": "because",
    "coz": "because",
}


def plain(text: str) -> str:
    """The question in lower case, without punctuation, written out."""
    said = text.lower().replace("\u2019", "'")
    for pattern, written in CONTRACTIONS:
        said = re.sub(pattern, written, said)
    said = re.sub(r"[^\w%'. -]|\.(?!\d)|(?<!\w)'|'(?!\w)|_", " ", said)
    return " ".join(SHORT.get(word, word) for word in said.split())
