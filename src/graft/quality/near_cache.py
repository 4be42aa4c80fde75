"""Near-duplicates of a dataset, from the cache if the same images were compared before.

Up to LARGE images `near_pairs` compares them; more are looked for in an index, which grows with
their number and keeps in memory what it is busy with (near_search.py).
"""

import hashlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from graft.data.fingerprint import FINGERPRINT_FORMAT, Fingerprints
from graft.quality.duplicates import Groups, with_copies
from graft.quality.near_duplicates import LEAST_SIDE, NEAR_FORMAT, Ints, clusters, near_pairs
from graft.quality.near_search import SEARCH_FORMAT, near_pairs_in_cells
from graft.quality.near_sketches import Thumbnails
from graft.utils.files import replacing
from graft.utils.progress import SILENT, Progress

# More images than this are looked for in an index. Of 12,000 it finds 99.4 % of the planted copies
# that comparing them all finds.
LARGE = 50_000


@dataclass(frozen=True)
class NearClusters:
    """Clusters of near-duplicates, positions with every byte-equal copy; and how many images are
    so alike that each was compared with a few of these only (0 for up to LARGE images).
    """

    clusters: Groups
    crowd: int = 0


def near_clusters(
    positions: Sequence[int], fingerprints: Fingerprints, equal: Groups, cache: Path | None
) -> Groups:
    """Clusters of near-duplicates among these positions, with every byte-equal copy of each.

    `fingerprints` (N,) in the order of `positions`. Of each group of `equal` files only the first
    is compared.
    """
    again = {i for group in equal for i in group[1:]}
    chosen = np.array([row for row, i in enumerate(positions) if i not in again], np.int64)
    # A fingerprint has four kilobytes: copied only if some are left out.
    pairs = cached_near_pairs(fingerprints[chosen] if again else fingerprints, cache)
    compared = [positions[row] for row in chosen]
    near = [[compared[i] for i in group] for group in clusters(pairs, len(compared))]
    return with_copies(near, equal)


def cached_near_pairs(fingerprints: Fingerprints, cache: Path | None) -> Ints:
    """The pairs of near-duplicates (P, 2) among fingerprints (N,); see `near_pairs`.

    Finding them takes as long as fitting a head, so they are stored in `cache` (None: not), named
    by the hash of what was compared.
    """
    if cache is None:
        return near_pairs(fingerprints)
    name = hashlib.sha256(fingerprints.view(np.uint8).data).hexdigest()[:32]
    file = cache / "near" / f"{name}.safetensors"
    key = {"format": str(NEAR_FORMAT)}
    if (stored := _stored(file, key)) is not None:
        return stored["pairs"]
    found = near_pairs(fingerprints)
    file.parent.mkdir(parents=True, exist_ok=True)
    with replacing(file) as beside:
        save_file({"pairs": found}, beside, key)
    return found


def near_clusters_of_many(
    positions: Sequence[int],
    looks: Fingerprints,
    gray: Thumbnails,
    digests: Sequence[bytes | None],
    equal: Groups,
    cache: Path | None,
    progress: Progress = SILENT,
) -> NearClusters:
    """As `near_clusters`, for more images than fit in memory.

    `looks` (N,) are fingerprints, of which only width and height are used, `gray` (N,) their
    thumbnails and `digests` the sha256 of their files, all in the order of `positions`. A search
    that is interrupted goes on where it was, if there is a `cache`.
    """
    again = {i for group in equal for i in group[1:]}
    chosen = np.array([row for row, i in enumerate(positions) if i not in again], np.int64)
    large = np.minimum(looks["width"][chosen], looks["height"][chosen]) >= LEAST_SIDE
    key = {"format": f"{NEAR_FORMAT} {SEARCH_FORMAT} {FINGERPRINT_FORMAT}"}
    name = hashlib.sha256(key["format"].encode())
    for row in chosen.tolist():
        name.update(digests[row] or b"")
    with _folder(cache) as folder:
        file = folder / f"{name.hexdigest()[:32]}.safetensors"
        found = _stored(file, key)
        if found is None:
            work = file.with_suffix(".work")
            pairs, crowd = near_pairs_in_cells(gray, chosen[large], work, progress)
            found = {"pairs": pairs, "crowd": np.array([crowd])}
            with replacing(file) as beside:
                save_file(found, beside, key)
            shutil.rmtree(work)
    near = clusters(found["pairs"], len(positions))
    named = [[positions[row] for row in group] for group in near]
    return NearClusters(with_copies(named, equal), int(found["crowd"][0]))


def _stored(file: Path, key: dict[str, str]) -> dict[str, NDArray[np.int64]] | None:
    if file.is_file():
        with suppress(SafetensorError, OSError), safe_open(file, "np") as stored:
            if stored.metadata() == key:
                return {name: np.asarray(stored.get_tensor(name)) for name in stored.keys()}  # noqa: SIM118
    return None


@contextmanager
def _folder(cache: Path | None) -> Iterator[Path]:
    if cache is not None:
        yield cache / "near"
        return
    with tempfile.TemporaryDirectory(prefix="graft-near-") as folder:
        yield Path(folder)
