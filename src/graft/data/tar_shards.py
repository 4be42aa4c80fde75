"""A tar of WebDataset: 000123.jpg with 000123.cls, .json or .txt beside it, sample after sample.

The images of a tar are unpacked into a folder with an index of what it said of them; the whole of
a source is never unpacked by a worker that takes one shard.
"""

import errno
import json
import shutil
import tarfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from graft.data.archive import BROKEN, check_end, opened_tar, written_beside
from graft.data.file_listing import IMAGE_SUFFIXES
from graft.data.table_columns import NAMES
from graft.data.unpacked_size import check_unpacked, unpacked_limit
from graft.errors import DataError

TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz")
INDEX = "index.json"
# A longer text beside an image is a caption or worse, and no label.
LONGEST_LABEL = 200
LONGEST_TEXT = 2**20
# In this order: what an image's label is read from.
LABELED_BY = ("cls", "json", "txt")


@dataclass
class TarImage:
    """An image of a tar: its name there, its file in the unpacked folder, and what was said of it.

    `label` is "" for none.
    """

    name: str
    file: str
    label: str = ""
    split: str = ""
    group: str = ""
    columns: dict[str, str] = field(default_factory=dict)


@dataclass
class TarIndex:
    """What a tar held: its images in order, the keys of samples without one, and what is wrong with
    the tar itself ("" for nothing).
    """

    images: list[TarImage]
    without_image: list[str]
    problem: str = ""


def is_tar_shard(name: str) -> bool:
    """Whether a file of this name is taken for a tar of samples."""
    return name.lower().endswith(TAR_SUFFIXES)


def key_and_ending(name: str) -> tuple[str, str]:
    """The sample that a member is of, and what it is of the sample: "a/12.seg.png" is the seg.png
    of a/12.
    """
    folder, slash, last = name.removeprefix("./").rpartition("/")
    # A name that begins with a dot has its key after that.
    dot = last.find(".", 1)
    return (
        (f"{folder}{slash}{last}", "")
        if dot < 0
        else (
            f"{folder}{slash}{last[:dot]}",
            last[dot + 1 :].lower(),
        )
    )


def holds_samples(tar: Path) -> bool:
    """Whether a tar is one of samples and no archive of class folders: images that are in no folder
    of it and have a .cls, .json or .txt of the same key. Only its beginning is looked at.
    """
    images: set[str] = set()
    labels: set[str] = set()
    try:
        with opened_tar(tar) as opened:
            for number, member in enumerate(opened):
                key, ending = key_and_ending(member.name)
                if "/" in key and member.isreg():
                    return False
                if _is_image(ending):
                    images.add(key)
                elif ending in LABELED_BY:
                    labels.add(key)
                if images & labels:
                    return True
                if number > 1000:
                    break
    except (*BROKEN, DataError, OSError):
        pass  # whoever reads it says what is wrong with it
    return False


def unpack_samples(tar: Path, destination: Path) -> None:
    """Unpack the images of a tar into the folder `destination`, with their index; all or nothing.

    Of a tar that is damaged or cut short the images before the damage are kept, and the index says
    so. An existing `destination` is left as it is.

    Raises DataError for a tar that unpacks to more than `unpacked_limit`, and a full disk.
    """
    if destination.is_dir():
        return
    with written_beside(destination) as folder:
        index = _unpacked(tar, folder)
        text = json.dumps(asdict(index), ensure_ascii=False)
        (folder / INDEX).write_text(text, encoding="utf-8", errors="surrogatepass")


def read_index(folder: Path) -> TarIndex:
    """The index of an unpacked tar; DataError for a damaged one."""
    try:
        text = (folder / INDEX).read_text(encoding="utf-8", errors="surrogatepass")
        stored = json.loads(text)
        images = [TarImage(**image) for image in stored["images"]]
        return TarIndex(images, list(stored["without_image"]), str(stored["problem"]))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DataError(
            f"{folder} is damaged ({type(error).__name__}); delete it, and it is unpacked again"
        ) from error


def _unpacked(tar: Path, folder: Path) -> TarIndex:
    images: list[TarImage] = []
    said: dict[str, dict[str, str]] = {}
    order: dict[str, None] = {}
    problem, held = "", 0
    limit = unpacked_limit(tar)
    try:
        with opened_tar(tar) as opened:
            for member in opened:
                if not member.isreg():
                    continue
                name = member.name.removeprefix("./")
                key, ending = key_and_ending(name)
                held += member.size
                check_unpacked(tar, held, limit)
                if _is_image(ending):
                    file = f"{len(images):08d}.{ending}"
                    _write(opened, member, folder / file)
                    images.append(TarImage(name, file))
                    order[key] = None
                elif ending in LABELED_BY and member.size <= LONGEST_TEXT:
                    said.setdefault(key, {})[ending] = _text(opened, member)
                    order[key] = None
            check_end(opened)
    except (*BROKEN, OSError) as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise  # of the disk; a packed tar that is damaged has no number
        problem = (str(error).splitlines() or [type(error).__name__])[0].rstrip(":")
        problem = f"is damaged or cut short: {problem}"
    with_image = {key_and_ending(image.name)[0] for image in images}
    for image in images:
        _describe(image, said.get(key_and_ending(image.name)[0], {}))
    if not (images or problem):
        problem = "holds no image"
    return TarIndex(images, [key for key in order if key not in with_image], problem)


def _is_image(ending: str) -> bool:
    return f".{ending}" in IMAGE_SUFFIXES


def _write(opened: tarfile.TarFile, member: tarfile.TarInfo, file: Path) -> None:
    source = opened.extractfile(member)
    if source is None:
        raise tarfile.ReadError(f"{member.name} is not a file")
    with source, file.open("wb") as stream:
        shutil.copyfileobj(source, stream, 1 << 18)
    if file.stat().st_size != member.size:
        file.unlink()
        raise tarfile.ReadError("unexpected end of data")


def _text(opened: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    source = opened.extractfile(member)
    data = source.read() if source else b""
    if len(data) != member.size:
        raise tarfile.ReadError("unexpected end of data")
    return data.decode("utf-8", errors="replace").strip()


def _describe(image: TarImage, said: Mapping[str, str]) -> None:
    """Fill in what the files beside an image say: the label by the first of LABELED_BY that has
    one; split, group and other columns by the .json.
    """
    values = _json(said.get("json", ""))
    plain = {name: str(value) for name, value in values.items() if _is_plain(value)}
    by_name = {name.strip().lower(): name for name in reversed(plain)}
    label_name = next((by_name[n] for n in ("cls", *NAMES["label"]) if n in by_name), None)
    found = {
        "cls": said.get("cls", ""),
        "json": plain.pop(label_name, "") if label_name is not None else "",
        "txt": said.get("txt", ""),
    }
    image.label = next((found[n] for n in LABELED_BY if _is_label(found[n])), "").strip()
    image.split = plain.pop(by_name["split"], "") if "split" in by_name else ""
    image.group = plain.pop(by_name["group"], "") if "group" in by_name else ""
    image.columns = plain


def _json(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _is_plain(value: object) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool)


def _is_label(text: str) -> bool:
    return 0 < len(text.strip()) <= LONGEST_LABEL and "\n" not in text.strip()
