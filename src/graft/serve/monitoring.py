"""What Prometheus reads at /metrics: load, refusals, and whether the images still look the same."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from graft.inference.prediction import Prediction
from graft.serve.admission import Admission
from graft.serve.served_runs import ServedRun, resident_bytes

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
SCORES = (0.25, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0, 3.0, 5.0)


class Monitoring:
    """A server's metrics, in a registry of its own. Labels come from what is served, never from
    what clients send, so their number is bounded.
    """

    def __init__(self, admission: Admission) -> None:
        self.registry = registry = CollectorRegistry()
        self.requests = Counter(
            "graft_requests", "Requests answered", ["route", "model", "status"], registry=registry
        )
        self.seconds = Histogram(
            "graft_request_seconds",
            "Seconds from a request's headers to its answer",
            ["model"],
            buckets=SECONDS,
            registry=registry,
        )
        self.refused = Counter(
            "graft_refused", "Requests that got no prediction", ["reason"], registry=registry
        )
        self.answers = Counter(
            "graft_images", "Images by what came of them", ["model", "outcome"], registry=registry
        )
        self.scores = Histogram(
            "graft_ood_score",
            "OOD scores of predicted images; above 1: out of distribution",
            ["model"],
            buckets=SCORES,
            registry=registry,
        )
        self.batches = Histogram(
            "graft_batch_images",
            "Images in a batch",
            buckets=(1, 2, 4, 8, 16, 24, 32),
            registry=registry,
        )
        self.batch_seconds = Histogram(
            "graft_batch_seconds", "Seconds of a batch", buckets=SECONDS, registry=registry
        )
        self.info = Gauge(
            "graft_model_info", "The runs that are served", ["model", "version"], registry=registry
        )
        for name, text, value in (
            ("queue_images", "Images that wait", lambda: admission.images),
            ("queue_megapixels", "Megapixels that wait", lambda: admission.megapixels),
            ("upload_bytes", "Bytes of bodies in memory", lambda: admission.held_bytes),
            ("resident_bytes", "Memory of the process", lambda: resident_bytes() or 0),
        ):
            Gauge(f"graft_{name}", text, registry=registry).set_function(value)

    def batch(self, size: int, seconds: float) -> None:
        """A batch was computed."""
        self.batches.observe(size)
        self.batch_seconds.observe(seconds)

    def serves(self, run: ServedRun, old: ServedRun | None = None) -> None:
        """A run is there, in place of an old one."""
        if old is not None:
            self.info.remove(old.name, old.version)
        self.info.labels(run.name, run.version).set(1)

    def predicted(self, model: str, found: Prediction | None) -> None:
        """An image was predicted, or (None) could not be used."""
        if found is None:
            outcome = "unusable"
        else:
            outcome = "abstained" if found.label is None else "label"
            if found.ood_score is not None:
                self.scores.labels(model).observe(found.ood_score)
        self.answers.labels(model, outcome).inc()

    def page(self) -> tuple[bytes, str]:
        """The text that Prometheus reads, and its content type."""
        return generate_latest(self.registry), CONTENT_TYPE_LATEST
