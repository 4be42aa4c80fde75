"""The settings of a training on a folder of features: what its features were computed with."""

from pathlib import Path
from typing import Any

from graft.config import Settings, SplitConfig, TrainConfig
from graft.data.feature_folder import is_feature_folder, read_job
from graft.errors import UsageError

# What the features of a folder were computed with, by config.
TRAIN = ("model", "image_size", "resize", "pixels", "views", "augment", "flip", "backend")
SPLIT = ("seed", "val_fraction", "group_by", "label_by", "follow_links")
# What may be another all the same: it is for the images that the classifier will be used on.
FREE = ("backend",)


def settings_of_features(
    source: str | Path, config: TrainConfig, split_config: SplitConfig
) -> tuple[TrainConfig, SplitConfig]:
    """The settings as they are; of a source that `graft features` filled, with what its features
    were computed with in the place of defaults.

    Raises UsageError for a setting that the features were not computed with.
    """
    folder = Path(source)
    if not is_feature_folder(folder):
        return config, split_config
    job = read_job(folder)
    train = _taken(folder, job, config, TRAIN)
    split = _taken(folder, job, split_config, SPLIT)
    if "seed" in split:
        train["seed"] = split["seed"]
    return config.model_copy(update=train), split_config.model_copy(update=split)


def _taken(
    folder: Path, job: dict[str, Any], config: Settings, names: tuple[str, ...]
) -> dict[str, Any]:
    taken = {}
    for name in names:
        # Of one view it does not matter how others would be made, or of which images.
        if (stored := job.get(name)) is None:
            continue
        asked = getattr(config, name)
        if asked == type(config).model_fields[name].default:
            taken[name] = stored
        elif asked != stored and name not in FREE:
            raise UsageError(
                f"--{name.replace('_', '-')} {asked}: the features in {folder} were computed with "
                f"{stored}; leave it out, or compute them again by `graft features`"
            )
    return taken
