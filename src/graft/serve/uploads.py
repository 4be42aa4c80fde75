"""Uploads: the images in a request's body, and their sizes by their headers alone."""

import base64
import binascii
import io
import json
from dataclasses import dataclass
from typing import Any

from PIL import Image
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from graft.data.decode import FORMATS, UnusableImageError, decode
from graft.serve.limits import MEGA, Limits
from graft.serve.problems import ProblemError

# curl's --data-binary says urlencoded of whatever it sends, unless told otherwise.
URLENCODED = "application/x-www-form-urlencoded"
RAW = ("application/octet-stream", URLENCODED, "")
# A progressive JPEG is decoded anew for each of its scans: with a thousand, one of 1 MB keeps a
# core busy for minutes. Cameras and programs write about a dozen.
MOST_SCANS = 100
LONGEST_NAME = 200
# While JSON is read nothing else of Python runs: 0.1 s for so many numbers.
MOST_VALUES = 2_000_000
FORMS = (
    'expected {"image": "BASE64"}, {"images": ["BASE64", …]} or {"instances": [{"b64": "BASE64"}]}'
)


@dataclass(slots=True)
class Upload:
    """One image of a request: its encoded bytes, or pixels that came as a tensor.

    `name` is what the client calls it, without control characters, and never used as a path.
    `megapixels` by its header; `problem` says why it cannot be used.
    """

    name: str
    data: bytes | Image.Image
    megapixels: float = 0.0
    problem: UnusableImageError | None = None


@dataclass(slots=True)
class Uploads:
    """The images of a request; `several` says that the answer is a list, even of one."""

    images: list[Upload]
    several: bool

    @property
    def megapixels(self) -> float:
        """Of the images that can be used, together."""
        return sum(image.megapixels for image in self.images if image.problem is None)


def clean_name(name: str) -> str:
    """A client's name of a file, fit to be shown: printable characters only, not too many."""
    return "".join(c for c in name if c.isprintable())[:LONGEST_NAME]


def parse(body: bytes, content_type: str, limits: Limits) -> Uploads:
    """The images in a body: raw bytes, a multipart form or JSON with base64, with their sizes.

    Raises ProblemError: 400 for a body that is not what it says, 413 for too many images, 415 for
    another type.
    """
    first, options = parse_options_header(content_type)
    kind = first.decode("latin-1").lower()
    if kind == "multipart/form-data":
        found = _of_form(body, options.get(b"boundary", b""), limits)
    elif kind == "application/json":
        found = _of_json(body)
    elif kind == URLENCODED and _spoiled(body):
        raise ProblemError(
            400,
            "curl's -d leaves out bytes, which spoils an image; send it by --data-binary",
            "invalid",
        )
    elif kind.startswith("image/") or kind in RAW:
        found = Uploads([Upload("", body)], several=False)
    else:
        raise ProblemError(
            415,
            f"expected an image, multipart/form-data or application/json, got {clean_name(kind)!r}",
            "unsupported_type",
        )
    return measured(found, limits)


def _spoiled(body: bytes) -> bool:
    """Whether this was a JPEG or PNG before `curl -d` took line ends and zeros out of it: every
    JPEG has zeros, in the lengths of its segments, and every PNG begins with line ends.
    """
    jpeg = body.startswith(b"\xff\xd8") and b"\0" not in body
    return jpeg or body.startswith(b"\x89PNG\x1a")


def measured(found: Uploads, limits: Limits) -> Uploads:
    """Each upload with its megapixels, or its problem, from its header."""
    if len(found.images) > limits.images:
        raise ProblemError(
            413,
            f"{len(found.images):,} images in one request, at most {limits.images:,} are accepted; "
            "send fewer at once",
            "too_large",
        )
    for image in found.images:
        try:
            image.megapixels = _megapixels(image.data, limits)
        except UnusableImageError as problem:
            image.problem = problem
    return found


def json_object(body: bytes) -> dict[str, Any]:
    """A JSON object; ProblemError 400 for anything else, 413 for one of too many values."""
    if body.count(b",") > MOST_VALUES:
        raise ProblemError(
            413, f"more than {MOST_VALUES:,} values of JSON; send binary tensors", "too_large"
        )
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ProblemError(400, "the body is no JSON that can be read") from error
    if not isinstance(found, dict):
        raise ProblemError(400, f"expected a JSON object, got {type(found).__name__}")
    return found


def from_base64(text: object) -> bytes:
    """Bytes from base64, also behind `data:image/…;base64,`; ProblemError 400 for anything else."""
    if not isinstance(text, str):
        raise ProblemError(400, FORMS)
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ProblemError(400, "an image is not valid base64") from error


def _of_json(body: bytes) -> Uploads:
    found = json_object(body)
    match found:
        case {"image": text} if len(found) == 1:
            return Uploads([Upload("", from_base64(text))], several=False)
        case {"images": list(texts)} if len(found) == 1 and texts:
            return Uploads([Upload("", from_base64(text)) for text in texts], several=True)
        case {"instances": list(rows)} if len(found) == 1 and rows:
            return Uploads([Upload("", from_base64(_instance(row))) for row in rows], several=True)
    raise ProblemError(400, FORMS)


def _instance(row: object) -> object:
    """TensorFlow Serving and KServe's v1 protocol: {"b64": …}, alone or under an input's name."""
    if isinstance(row, dict) and len(row) == 1 and "b64" not in row:
        row = next(iter(row.values()))
    return row.get("b64") if isinstance(row, dict) and len(row) == 1 else None


def _of_form(body: bytes, boundary: bytes, limits: Limits) -> Uploads:
    form = _Form(limits.images)
    try:
        parser = MultipartParser(boundary, form.callbacks())  # type: ignore[arg-type]
        parser.write(body)
        parser.finalize()
    except FormParserError as error:
        raise ProblemError(400, "the multipart form is broken or cut off") from error
    if not form.whole:
        raise ProblemError(400, "the multipart form is broken or cut off")
    if not form.files:
        raise ProblemError(400, "the form has no file; as with curl -F image=@photo.jpg")
    return Uploads(form.files, several=len(form.files) > 1)


class _Form:
    """Collects the files of a multipart form; fields without a file name are passed over."""

    def __init__(self, most: int) -> None:
        self.files: list[Upload] = []
        self.most, self.whole = most, False
        self.part = bytearray()
        self.field, self.value = bytearray(), bytearray()
        self.disposition = b""

    def callbacks(self) -> dict[str, Any]:
        return {
            "on_part_begin": self._begin,
            "on_part_data": lambda data, start, end: self.part.extend(data[start:end]),
            "on_part_end": self._end,
            "on_header_field": lambda data, start, end: self.field.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self.value.extend(data[start:end]),
            "on_header_end": self._header,
            "on_end": self._all,
        }

    def _begin(self) -> None:
        self.part, self.disposition = bytearray(), b""

    def _header(self) -> None:
        if self.field.lower() == b"content-disposition":
            self.disposition = bytes(self.value)
        self.field, self.value = bytearray(), bytearray()

    def _end(self) -> None:
        _, options = parse_options_header(self.disposition)
        if b"filename" not in options:
            return
        if len(self.files) >= self.most:
            raise ProblemError(
                413, f"at most {self.most:,} images are accepted in one request", "too_large"
            )
        name = options[b"filename"].decode("utf-8", "replace")
        self.files.append(Upload(clean_name(name), bytes(self.part)))

    def _all(self) -> None:
        self.whole = True


def _megapixels(data: bytes | Image.Image, limits: Limits) -> float:
    if isinstance(data, Image.Image):
        width, height = data.size
    else:
        width, height = _size(data)
    if width * height > limits.megapixels * MEGA:
        raise UnusableImageError(
            "oversized",
            f"is {width} × {height} pixels, more than {limits.megapixels:g} megapixels",
        )
    return width * height / MEGA


def _size(data: bytes) -> tuple[int, int]:
    if not data:
        raise UnusableImageError("empty", "has no bytes in it")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            size, jpeg = image.size, image.format in ("JPEG", "MPO")
    # Pillow's readers raise many types on hostile bytes, and `decode` has a name for each.
    except Exception as error:
        decode(data)
        raise UnusableImageError("unreadable", f"cannot be decoded: {error}") from error
    if jpeg and (scans := data.count(b"\xff\xda")) > MOST_SCANS:
        raise UnusableImageError(
            "unreadable", f"is a JPEG of {scans:,} scans, more than {MOST_SCANS}"
        )
    return size
