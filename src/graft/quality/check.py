"""`graft check`: read every image of a source and say everything that is wrong with it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graft.choices import LabelBy
from graft.data.dataset import Dataset
from graft.data.feature_folder import read_job
from graft.data.sources import load_dataset
from graft.features.table import FeatureTable, extract, read_table
from graft.quality.audit import audit
from graft.quality.corrected import applied_to, existing_journal
from graft.quality.finding import Finding
from graft.quality.listing import check_listing
from graft.utils.cache_folder import cache_folder, cache_in_use, sources_folder
from graft.utils.progress import SILENT, Progress


@dataclass(frozen=True)
class CheckResult:
    """What `check` found: the dataset, the number of usable images, and the findings."""

    dataset: Dataset
    usable: int
    findings: tuple[Finding, ...]

    @property
    def blocking(self) -> bool:
        """Whether training would refuse these images."""
        return any(finding.blocking for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """As `graft check --json` prints it."""
        return {
            "images": len(self.dataset.examples),
            "usable": self.usable,
            "classes": self.dataset.counts,
            "findings": [finding.to_json() for finding in self.findings],
        }


@cache_in_use()
def check(
    source: str | Path,
    model: str | None = None,
    backend: str = "auto",
    progress: Progress = SILENT,
    label_by: LabelBy | None = None,
    follow_links: bool = False,
    corrections: str | Path | None = None,
) -> CheckResult:
    """What is wrong with a folder, table, archive or named dataset.

    With `model`, a pretrained network, also label errors and outliers; its features stay in the
    cache for training. Without one PyTorch is not imported, which takes as long as a small check.

    `label_by` and `follow_links` are as for `load_dataset`. `corrections` is a journal of decisions
    (quality/corrections.py), which are applied first.

    Raises UsageError or DataError for a source that cannot be listed, ModelError for a model that
    cannot be loaded.
    """
    journal = existing_journal(corrections) if corrections else None
    dataset = load_dataset(
        source,
        sources_folder(),
        label_by=label_by,
        follow_links=follow_links,
        features=True,
        progress=progress,
    )
    if not dataset.examples:
        return CheckResult(dataset, 0, tuple(check_listing(dataset)))
    table = _encoded(dataset, model, backend, progress) if model else read_table(dataset, progress)
    table, applied = applied_to(table, journal)
    progress.say_all(applied.notes)
    found = audit(
        table.dataset, table, cache_folder(), confirmed=applied.checked, progress=progress
    )
    return CheckResult(table.dataset, len(found.usable), found.findings)


def _encoded(dataset: Dataset, model: str, backend: str, progress: Progress) -> FeatureTable:
    # Here, because these import PyTorch.
    from graft.config import SplitConfig
    from graft.features.backends import backend_of
    from graft.features.cached_encoder import CachedEncoder
    from graft.models.backbone import resized
    from graft.models.weights import find_backbone

    cache = cache_folder()
    shards = dataset.features
    fed = read_job(shards) if shards else {}
    backbone = resized(find_backbone(model, cache), fed.get("image_size"), fed.get("resize"))
    used = backend_of(backbone, backend)
    encoder = CachedEncoder(cache, backbone, used, views=1, shards=shards)
    return extract(dataset, encoder, SplitConfig(), progress)
