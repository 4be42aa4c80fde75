"""Text for a terminal, which names of files and classes can neither steer nor break into lines."""

import re

# Control characters, among them ESC and line breaks; the separators that break lines; those that
# change the direction of writing; and the halves that stand for bytes of names that are not UTF-8.
_CONTROLS = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]"
)


def one_line(text: str) -> str:
    r"""The text as one line that a terminal shows as it is: ESC becomes \x1b, a line break \n."""
    return _CONTROLS.sub(lambda found: ascii(found[0])[1:-1], text)


def json_line(text: str) -> str:
    """JSON, which has no line breaks, with the same characters escaped in its own way."""
    return _CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
