"""Encoding by several processes: each does its part of the images, for all that share a cache.

Every function is called by all of the processes; they do nothing where there is one.
"""

import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from graft.data.image_file import UnusableImageError
from graft.errors import DataError
from graft.models import ranks
from graft.models.runtime import Runtime

if TYPE_CHECKING:
    from graft.features.cached_encoder import CachedEncoder


def own_rows(encoder: "CachedEncoder", rows: Sequence[int]) -> list[int]:
    """Those of the rows, the same in all processes, that this process encodes: every so manieth.

    Processes on one cache share them; on a machine that sees no other's cache, all are its own.
    """
    runtime = encoder.runtime
    if runtime is None:
        return list(rows)
    sharing = _sharing(encoder, runtime)
    place = sharing.index(runtime.rank)
    return [row for row in rows if row % len(sharing) == place]


def _sharing(encoder: "CachedEncoder", runtime: Runtime) -> list[int]:
    """The ranks, in order, that see this process's cache folder."""
    encoder.cache.mkdir(parents=True, exist_ok=True)
    own = encoder.cache / f".rank-{uuid.uuid4().hex}"
    own.touch()
    try:
        names = ranks.gathered(runtime, own.name)
        found = [rank for rank, name in enumerate(names) if (encoder.cache / name).exists()]
        ranks.gathered(runtime, None)  # all have looked
    finally:
        own.unlink(missing_ok=True)
    return found


def gather_rows(
    encoder: "CachedEncoder",
    files: Sequence[Path],
    known_digests: list[bytes | None],
    problems: dict[int, UnusableImageError],
) -> None:
    """Let each process know what all of them read, and see what they put into the cache.

    Raises DataError for a file that is not the same on all machines.
    """
    runtime = encoder.runtime
    if runtime is None:
        return
    known = [row for row, digest in enumerate(known_digests) if digest is not None]
    own = np.frombuffer(b"".join(known_digests[row] or b"" for row in known), np.uint8)
    rows = ranks.gathered_rows(runtime, np.array(known, np.int64))
    digests = ranks.gathered_rows(runtime, own.reshape(-1, 32))
    for row, digest in zip(rows.tolist(), digests, strict=True):
        if known_digests[row] not in (None, digest.tobytes()):
            raise DataError(
                f"{files[row]}: differs between the machines that train "
                "together; give all of them the same images"
            )
        known_digests[row] = digest.tobytes()
    told = [[row, found.kind, str(found)] for row, found in problems.items()]
    for row, kind, reason in (one for each in ranks.gathered(runtime, told) for one in each):
        problems.setdefault(row, UnusableImageError(kind, reason))
    reopened(encoder)


def reopened(encoder: "CachedEncoder") -> None:
    """Open the stores of all processes again once all have written; UsageError where they do not
    all compute by the same backend.
    """
    runtime = encoder.runtime
    if runtime is None:
        return
    if len(set(ranks.gathered(runtime, encoder.engine))) > 1:
        encoder.settle()
    ranks.agreed(runtime, "backends", lambda: encoder.engine)
    encoder.reopen()
