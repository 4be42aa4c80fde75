"""What a hub folder holds. Never imports torch: `graft push` needs no more than this."""

from pathlib import Path

from graft.errors import UsageError

TIMM = "timm"  # the folder of a fine-tuned body in timm's own form
# What a hub folder may hold, and so all that is ever uploaded.
NEEDED = ("README.md", "config.json", "metrics.json", "model.json", "model.safetensors")
OPTIONAL = ("model.onnx", "preprocess.json", "predict.py", "check.py", "parity.json")
FOLDERS = ("vectors", TIMM)


def check_hub_folder(folder: Path) -> list[str]:
    """The files of a hub folder, as paths within it; all are to be uploaded, and nothing else.

    Raises UsageError for another folder, and for one with anything else in it.
    """
    missing = [name for name in NEEDED if not (folder / name).is_file()]
    if missing:
        raise UsageError(
            f"expected a folder made by graft export RUN --to hub-folder, but {missing[0]} is not "
            f"in {folder}"
        )
    found = []
    for file in sorted(folder.rglob("*")):
        name = file.relative_to(folder).as_posix()
        first = name.partition("/")[0]
        known = first in FOLDERS if "/" in name or file.is_dir() else name in NEEDED + OPTIONAL
        if file.is_symlink() or not known:
            raise UsageError(
                f"{folder} holds something that graft did not put there ({name}); take it out, so "
                "that it is not published by mistake"
            )
        if file.is_file():
            found.append(name)
    return found
