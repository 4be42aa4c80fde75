"""One shard's file of features: the only place where its format is written and read.

    DIR/features-00003-of-00100.safetensors

Any reader of safetensors can open it. A row is an image of the shard, in the order of its listing:

    table            UTF-8 JSON: path, label, split, group and columns of each row; problems; what
                     else the listing said
    digests          (n, 32) uint8, sha256 of the image file; zeros where it could not be read
    fingerprints     (n, F) uint8, what the audit knows of it; zeros where it could not be decoded
    view0, view1 …   (m, D) float16, the features of the rows in view0_rows, view1_rows … (m,) int64

and in its metadata `job` (JSON, what determines the values), `key` (the digest of that), `shard`,
and counts, so that a file is known by its first kilobytes.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graft.data.dataset import Example
from graft.data.image_file import UnusableImageError
from graft.data.shard import Shard
from graft.errors import DataError
from graft.utils.json_digest import json_digest
from graft.utils.mapped_tensors import Blocks, mapped_tensors, read_header, write_tensors

FORMAT = "1"
DAMAGE = (ValueError, KeyError, TypeError, AttributeError)


@dataclass(frozen=True)
class Rows:
    """The images of a shard without their features.

    `digests` as in FeatureTable; `problems` by row; `fingerprints` (n, F) uint8, to write them also
    block by block; `cameras`: the
    names of fingerprints' cameras by their number. `order` names the orders that the listing is
    in (`feature_listing.ORDERS`). The rest is as in Dataset.
    """

    examples: Sequence[Example]
    digests: Sequence[bytes | None]
    problems: Mapping[int, UnusableImageError]
    fingerprints: NDArray[np.uint8] | Blocks
    cameras: Mapping[int, str] = field(default_factory=dict)
    order: Sequence[str] = ()
    left_out: Mapping[str, Sequence[str]] = field(default_factory=dict)
    lost: Mapping[str, int] = field(default_factory=dict)
    remarks: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True)
class Head:
    """What the first kilobytes of a file say: which job and shard it is of, and its counts."""

    key: str
    job: dict[str, Any]
    shard: Shard
    images: int
    problems: int
    views: tuple[int, ...]  # the number of rows in each


def file_name(shard: Shard) -> str:
    """What a shard's file is called."""
    return f"features-{shard.name}.safetensors"


def write_file(
    folder: Path,
    shard: Shard,
    job: Mapping[str, Any],
    rows: Rows,
    views: Sequence[tuple[NDArray[np.int64], Blocks]],
) -> Path:
    """Write a shard's file, all or nothing. `views`: of each its rows and their features."""
    path = folder / file_name(shard)
    table = np.frombuffer(json.dumps(_table(rows)).encode(), np.uint8)
    tensors: dict[str, NDArray[Any] | Blocks] = {
        "table": table,
        "digests": np.frombuffer(
            b"".join(digest or bytes(32) for digest in rows.digests), np.uint8
        ).reshape(-1, 32),
        "fingerprints": rows.fingerprints,
    }
    for number, (own, features) in enumerate(views):
        tensors |= {f"view{number}_rows": own, f"view{number}": features}
    metadata = {
        "graft_features": FORMAT,
        "key": json_digest(job),
        "job": json.dumps(job, sort_keys=True),
        "shard": str(shard),
        "images": str(len(rows.examples)),
        "problems": str(len(rows.problems)),
        "table_sha256": hashlib.sha256(table.tobytes()).hexdigest(),
    }
    write_tensors(path, tensors, metadata)
    return path


def read_head(path: Path) -> Head:
    """What a file says of itself, checked against its size: cheap, whatever it holds.

    Raises DataError for a file that is damaged or of another version.
    """
    try:
        header = read_header(path)
        said = header["__metadata__"]
        if said.get("graft_features") != FORMAT:
            raise ValueError(f"it is of format {said.get('graft_features')}, expected {FORMAT}")
        images, job = int(said["images"]), json.loads(said["job"])
        shapes = {name: header[name].get("shape") for name in header if name != "__metadata__"}
        views = [shapes[f"view{n}"] for n in range(sum(f"view{n}" in shapes for n in range(99)))]
        if said["key"] != json_digest(job) or shapes["digests"] != [images, 32] or not views:
            raise ValueError("its parts do not fit together")
        number, _, count = said["shard"].partition("/")
        shard = Shard(int(number), int(count))
        rows = tuple(int(shape[0]) for shape in views)
        return Head(said["key"], job, shard, images, int(said["problems"]), rows)
    except (*DAMAGE, OSError) as error:
        raise damaged(path, error) from error


def read_rows(path: Path, folder: Path) -> Rows:
    """The images of a file, checked. `folder`: what their files are named under, where there are
    none. Raises DataError for a file that is damaged.
    """
    try:
        said = read_header(path)["__metadata__"]
        tensors = mapped_tensors(path, ("table", "digests", "fingerprints"))
        text = tensors["table"].tobytes()
        if hashlib.sha256(text).hexdigest() != said["table_sha256"]:
            raise ValueError("its table has changed since it was written")
        table = json.loads(text)
        digests = tensors["digests"].tobytes()
        unknown = set(table["unread"])
        names = ("path", "label", "split", "group", "columns")
        examples = [
            Example(where, folder / where, label, split, group, columns)
            for where, label, split, group, columns in zip(
                *(table[name] for name in names), strict=True
            )
        ]
        if len(examples) != len(tensors["digests"]) or len(examples) != len(
            tensors["fingerprints"]
        ):
            raise ValueError("its parts do not fit together")
        return Rows(
            examples,
            [None if n in unknown else digests[32 * n : 32 * n + 32] for n in range(len(examples))],
            {int(n): UnusableImageError(*told) for n, told in table["problems"].items()},
            tensors["fingerprints"],
            {int(number): name for number, name in table["cameras"].items()},
            table["order"],
            table["left_out"],
            table["lost"],
            [(kind, text) for kind, text in table["remarks"]],
        )
    except (*DAMAGE, OSError) as error:
        raise damaged(path, error) from error


def read_view(path: Path, view: int) -> tuple[NDArray[np.int64], NDArray[np.float16]]:
    """The rows (m,) that have a view, and their features (m, D), mapped. Raises DataError."""
    try:
        found = mapped_tensors(path, (f"view{view}_rows", f"view{view}"))
        return np.array(found[f"view{view}_rows"]), found[f"view{view}"]
    except (*DAMAGE, OSError) as error:
        raise damaged(path, error) from error


def read_fingerprints(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The digests (n, 32) and fingerprints (n, F) of all rows, mapped. Raises DataError."""
    try:
        found = mapped_tensors(path, ("digests", "fingerprints"))
        return found["digests"], found["fingerprints"]
    except (*DAMAGE, OSError) as error:
        raise damaged(path, error) from error


def damaged(path: Path, error: BaseException) -> DataError:
    """The error that names a damaged file and says what to do."""
    why = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return DataError(
        f"{path}: is damaged or not a file of graft features ({why}); remove it and run "
        "`graft features` for that shard again"
    )


def _table(rows: Rows) -> dict[str, Any]:
    return {
        "path": [example.path for example in rows.examples],
        "label": [example.label for example in rows.examples],
        "split": [example.split for example in rows.examples],
        "group": [example.group for example in rows.examples],
        "columns": [dict(e.columns) if e.columns else None for e in rows.examples],
        "unread": [n for n, digest in enumerate(rows.digests) if digest is None],
        "problems": {n: [problem.kind, str(problem)] for n, problem in rows.problems.items()},
        "cameras": dict(rows.cameras),
        "order": list(rows.order),
        "left_out": {kind: list(names) for kind, names in rows.left_out.items()},
        "lost": dict(rows.lost),
        "remarks": [list(remark) for remark in rows.remarks],
    }
