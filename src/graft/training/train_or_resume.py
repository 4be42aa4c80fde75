"""The whole of `graft train`: the recipe, or the rest of it, then the report; in one process, or
under torchrun in several.
"""

from collections.abc import Callable
from pathlib import Path

from graft.config import SplitConfig, TrainConfig
from graft.models.ranks import joined, rank_0
from graft.runs.folder import begun_folder, is_finished, lacks_report
from graft.runs.run import Run
from graft.training.recipe import finish, train
from graft.utils.progress import Progress
from graft.utils.torchrun import place


def train_or_resume(
    source: str | Path,
    config: TrainConfig,
    split_config: SplitConfig,
    out: Path | None,
    progress: Progress,
    resume: bool,
    tensorboard: bool,
    corrections: Path | None,
    report: Callable[[Run], None],
) -> Run:
    """As `recipe.train`, then `report` of the run. What torchrun starts again resumes in any case.

    Of several processes rank 0 says, writes and reports, and the others return when it has. Raises
    what `recipe.train` raises, and as `joined`.
    """
    again = place().restarts > 0
    with joined() as runtime:
        progress = progress if runtime.rank == 0 else Progress()
        if runtime.world > 1:
            progress.say(f"{runtime.world} processes train together")
        if (resume or again) and not out:
            out = begun_folder(str(source), config.model)

        def trained() -> bool:
            if not out or not (resume or again):
                return False
            if lacks_report(out):
                finish(Run(out), source, config, split_config, corrections)
                progress.say(f"{out} is trained; its report was missing")
                return True
            return again and is_finished(out)  # another process ended before it could say so

        if out and rank_0(runtime, trained):
            run = Run(out)
        else:
            run = train(
                source,
                config,
                split_config,
                out,
                progress,
                resume or again,
                tensorboard and runtime.rank == 0,
                corrections,
                runtime=runtime,
            )
        if runtime.rank == 0 and not (run.path / "report.html").exists():
            report(run)
        where = rank_0(runtime, lambda: str(run.path))
        return run if runtime.rank == 0 else Run(where)
