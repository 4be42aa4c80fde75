"""The audit with the help of a frozen encoder: everything `graft check` sees, and likely wrong
labels and outliers besides.
"""

import hashlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from graft.data.dataset import Dataset, Example, Finding, class_numbers
from graft.data.fingerprint import Fingerprints, fingerprints
from graft.features.backends import LazyBackend
from graft.features.table import FeatureTable
from graft.models.backbone import resized
from graft.models.weights import find_backbone
from graft.quality.audit import Audit, check_listing
from graft.quality.check import CheckResult
from graft.quality.label_errors import judged_findings
from graft.quality.near_duplicates import NEAR_FORMAT, Ints, near_pairs
from graft.utils.files import replacing
from graft.utils.progress import Progress


def read_and_check(
    dataset: Dataset,
    frozen: FeatureTable,
    views_of: Callable[[int, bytes], Sequence[int]],
    progress: Progress,
) -> Audit:
    """Read, hash, check and decode every file once, and encode what the cache does not hold."""
    audit = Audit(dataset)
    files = [example.file for example in dataset.examples]
    doing = "reading, checking, encoding" if frozen.backend else "reading, checking"
    progress.start(doing, len(files))
    frozen.compute(files, views_of, audit.note, progress)
    progress.finish()
    seen = {i: digest for i in audit.readable() if (digest := audit.digests[i])}
    rows = fingerprints(frozen.fingerprints.gather(seen.values()).whole())
    audit.look(list(seen), rows, lambda chosen: _pairs(chosen, frozen.cache))
    return audit


def judge(
    examples: Sequence[Example],
    digests: Sequence[bytes],
    labels: NDArray[np.int64],
    classes: Sequence[str],
    frozen: FeatureTable,
) -> list[Finding]:
    """What the features of these images say of their labels; nothing without an encoder."""
    if frozen.backend is None:
        return []
    rows = frozen.gather(digests)
    features = rows.columns(frozen.cut_size) if frozen.cut else rows
    return judged_findings(examples, labels, classes, features)


def check_by_model(
    source: Dataset, model: str, backend: str, cache: Path, progress: Progress
) -> CheckResult:
    """`graft check` with a backbone's features; the cache keeps them for training.

    Raises ModelError for a backbone that is not there.
    """
    backbone = resized(find_backbone(model, cache), None)
    if not source.examples:
        return CheckResult(source, 0, tuple(check_listing(source)))
    frozen = FeatureTable(cache, backbone, LazyBackend(backbone.build, backend), 1)
    audit = read_and_check(source, frozen, lambda index, digest: (0,), progress)
    kept = audit.usable()
    examples = [source.examples[i] for i in kept]
    classes = sorted({example.label for example in examples})
    labels = class_numbers(examples, classes)
    judged = judge(examples, [audit.digests[i] or b"" for i in kept], labels, classes, frozen)
    return CheckResult.of(audit, judged)


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
