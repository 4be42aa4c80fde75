"""What is wrong with a source: the one place that says how it is listed and which audit it gets."""

from pathlib import Path

from graft.data.sources import scan
from graft.quality.check import CheckResult, check
from graft.utils.cache_folder import cache_folder
from graft.utils.progress import Progress


def check_source(
    source: str | Path, model: str | None, backend: str, progress: Progress
) -> CheckResult:
    """Check a source; with `model`, a pretrained network, also for likely wrong labels and
    outliers. Without it PyTorch is not imported, which would take as long as a small check.
    """
    cache = cache_folder()
    dataset = scan(source, cache / "sources")
    if model is None:
        return check(dataset, progress)
    from graft.quality.model_audit import check_by_model

    return check_by_model(dataset, model, backend, cache, progress)
