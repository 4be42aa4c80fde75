"""What happens while a run is fitted: its history, its notes, its checkpoints, its progress."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

from torch import nn

from graft.models.runtime import Runtime
from graft.runs.run import Run
from graft.training.loggers import tensorboard_events
from graft.training.loop import Batches, Epoch, FitSettings, Resumable, fit
from graft.training.optim import Group
from graft.utils.progress import Progress

NAMES = {"fit": "fitting", "probe": "fitting the head", "fine-tune": "fine-tuning"}


@dataclass
class Recorder:
    """Fits stage by stage and keeps what a run folder and its report need of it.

    `identity` says what is fitted (settings, data, network): the checkpoint of anything else is
    refused. `history` holds a line an epoch, over all stages; `notes` what the report should say.
    """

    run: Run
    progress: Progress
    runtime: Runtime
    identity: Mapping[str, Any]
    resume: bool
    events: Callable[[dict[str, Any]], None] | None = None
    history: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def fit(
        self,
        stage: str,
        model: nn.Module,
        train: Callable[[int, int], Batches],
        steps: int,
        val: Callable[[], Batches],
        settings: FitSettings,
        groups: Sequence[Group] | None = None,
    ) -> list[Epoch]:
        """`loop.fit` of one stage: "probe" and "fine-tune", or "fit" where there is but one.

        Its epochs are written to history.jsonl and shown; its checkpoints lie in the run.
        """
        progress, earlier = self.progress, len(self.history)
        progress.start(NAMES[stage], settings.epochs * steps)
        news = ""

        def on_epoch(epoch: Epoch) -> None:
            nonlocal news
            line = {"stage": stage, **asdict(epoch)}
            line["epoch"] += earlier
            self.history.append(line)
            self.run.append_history(line)
            news = (
                f"epoch {epoch.epoch}: val accuracy {epoch.val_accuracy:.1%}, "
                f"loss {epoch.val_loss:.3f}"
            )
            if self.events:
                self.events(line)

        def on_step(step: int, loss: float) -> None:
            progress.advance(step, news or f"loss {loss:.3f}")

        identity = {"stage": stage, **self.identity}
        resumable = Resumable(self.run.checkpoint(stage), identity, self.resume)
        epochs = fit(
            model,
            train,
            steps,
            val,
            settings,
            self.runtime,
            on_epoch,
            on_step,
            groups,
            resumable,
        )
        progress.finish()
        return epochs

    def note(self, text: str) -> None:
        """Keep a sentence for the report, and say it."""
        self.notes.append(text)
        self.progress.say(text)

    def best(self, stage: str) -> dict[str, int]:
        """How many epochs there were, and which of this stage, whose weights were kept, had the
        lowest calibrated validation loss.
        """
        kept = [line for line in self.history if line["stage"] == stage]
        best = min(kept, key=lambda line: line["val_calibrated_loss"])
        return {"epochs": len(self.history), "best_epoch": best["epoch"]}

    @property
    def seconds(self) -> float:
        """The seconds of all epochs, those of an earlier, interrupted process included."""
        return float(sum(line["seconds"] for line in self.history))


@contextmanager
def recording(
    run: Run,
    progress: Progress,
    runtime: Runtime,
    identity: Mapping[str, Any],
    resume: bool,
    tensorboard: bool,
) -> Iterator[Recorder]:
    """A recorder, with TensorBoard's event files beside history.jsonl if asked for."""
    if not tensorboard:
        yield Recorder(run, progress, runtime, identity, resume)
        return
    with tensorboard_events(run.path) as events:
        yield Recorder(run, progress, runtime, identity, resume, events)
