"""Near-duplicates of a dataset, from the cache if the same images were compared before."""

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from graft.data.fingerprint import Fingerprints
from graft.quality.duplicates import Groups, with_copies
from graft.quality.near_duplicates import NEAR_FORMAT, Ints, clusters, near_pairs
from graft.utils.files import replacing


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
    if file.is_file():
        with suppress(SafetensorError, OSError), safe_open(file, "np") as stored:
            if stored.metadata() == key:
                return np.asarray(stored.get_tensor("pairs"))
    found = near_pairs(fingerprints)
    file.parent.mkdir(parents=True, exist_ok=True)
    with replacing(file) as beside:
        save_file({"pairs": found}, beside, key)
    return found
