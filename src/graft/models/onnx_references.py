"""The files that an ONNX file names: its tensors may lie outside of it, wherever it says.

ONNX is a Protocol Buffers message. Only the few fields that lead to such names are followed here,
so that nothing is opened before it is known what would be.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from graft.errors import ModelError
from graft.runs.reading import shown

# By the number of a field, the kind of message in it (onnx.proto).
_TENSOR: dict[int, Any] = {}
_GRAPH: dict[int, Any] = {}
_SPARSE = {1: _TENSOR, 2: _TENSOR}
_ATTRIBUTE = {5: _TENSOR, 6: _GRAPH, 10: _TENSOR, 11: _GRAPH, 22: _SPARSE, 23: _SPARSE}
_NODE = {5: _ATTRIBUTE}
_GRAPH.update({1: _NODE, 5: _TENSOR, 15: _SPARSE})
_MODEL = {7: _GRAPH, 25: {7: _NODE}}
_EXTERNAL = 13  # of a tensor: pairs of a key (1) and a value (2)
DEEPEST = 50


def external_files(file: Path) -> list[Path]:
    """The files beside an ONNX file that hold tensors of it, sorted.

    Raises ModelError for a name that leads out of the file's folder, and for what is no ONNX.
    """
    try:
        names = sorted(set(_locations(memoryview(file.read_bytes()), _MODEL, 0)))
    except (ValueError, IndexError) as error:
        raise ModelError(f"{file}: not a whole ONNX file: {error or 'cut off'}") from error
    folder = file.parent.resolve()
    found = []
    for name in names:
        place = Path(name)
        if place.is_absolute() or not (folder / place).resolve().is_relative_to(folder):
            raise ModelError(
                f"{file}: keeps tensors in {shown(name)}, which is outside of its folder; graft "
                "reads only what lies beside the file"
            )
        if not (folder / place).is_file():
            raise ModelError(f"{file}: keeps tensors in {shown(name)}, which is not there")
        found.append(folder / place)
    return found


def _locations(message: memoryview, kind: dict[int, Any], depth: int) -> Iterator[str]:
    if depth > DEEPEST:
        raise ValueError("too deep")
    for number, value in _fields(message):
        if kind is _TENSOR and number == _EXTERNAL:
            pair = {key: bytes(text).decode("utf-8") for key, text in _fields(value)}
            if pair.get(1) == "location":
                yield pair.get(2, "")
        elif number in kind:
            yield from _locations(value, kind[number], depth + 1)


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """The fields of a message that have a length; others are numbers, and stepped over."""
    at = 0
    while at < len(message):
        tag, at = _number(message, at)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            _, at = _number(message, at)
        elif wire in (1, 5):
            at += 8 if wire == 1 else 4
        elif wire == 2:
            size, at = _number(message, at)
            if at + size > len(message):
                raise ValueError("cut off")
            yield number, message[at : at + size]
            at += size
        else:
            raise ValueError(f"a field of the unknown type {wire}")
    if at != len(message):
        raise ValueError("cut off")


def _number(message: memoryview, at: int) -> tuple[int, int]:
    """A number of seven bits a byte, and where it ends."""
    value = 0
    for place in range(10):
        byte = message[at + place]
        value |= (byte & 127) << (7 * place)
        if byte < 128:
            return value, at + place + 1
    raise ValueError("a number of more than ten bytes")
