"""The audit with the help of a frozen encoder: everything `graft check` sees, and likely wrong
labels and outliers besides.
"""

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from graft.data.dataset import Finding, class_numbers
from graft.data.fingerprint import Fingerprints
from graft.features.table import FeatureTable
from graft.quality.label_errors import judged_findings
from graft.quality.near_duplicates import NEAR_FORMAT, Ints, near_pairs
from graft.utils.cache_folder import cache_folder
from graft.utils.files import replacing


def judge(table: FeatureTable, usable: Sequence[int]) -> list[Finding]:
    """Stand-in."""
    features = table.features(usable)
    if features is None:
        return []
    examples = [table.dataset.examples[i] for i in usable]
    classes = sorted({example.label for example in examples})
    return judged_findings(examples, class_numbers(examples, classes), classes, features)


def near_of(chosen: Fingerprints) -> Ints:
    """Stand-in."""
    return _pairs(chosen, cache_folder())


def _pairs(chosen: Fingerprints, cache: Path) -> Ints:
    # Finding near copies takes as long as fitting a head: kept, too, by what was compared.
    name = hashlib.sha256(chosen.view(np.uint8).data).hexdigest()[:32]
    file = cache / "near" / f"{name}.safetensors"
    key = {"format": str(NEAR_FORMAT)}
    if file.is_file():
        with suppress(SafetensorError, OSError), safe_open(file, "np") as stored:
            if stored.metadata() == key:
                return np.asarray(stored.get_tensor("pairs"))
    found = near_pairs(chosen)
    file.parent.mkdir(parents=True, exist_ok=True)
    with replacing(file) as beside:
        save_file({"pairs": found}, beside, key)
    return found
