"""docs/settings.md, made from the settings themselves; `make docs` writes it."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from graft.config import SplitConfig, TrainConfig, depends_on_model, expected
from graft.training.defaults import KINDS

HEAD = """\
# Settings

Every setting of `graft train`, on the command line (`--learning-rate 0.001`) and in Python
(`graft.train(source, out=folder, learning_rate=0.001)`). This page is generated from
`src/graft/config.py` by `make docs`. The measurements behind the defaults are in
[recipes.md](recipes.md).
"""
BY_KIND = """\
## Defaults that depend on the model

`--image-size` and `--resize` are by default those that the weights were trained with, and 64
pixels and crop for `base_cnn` and `deep_cnn`. The others depend on what is trained:
"""


def write(file: str) -> None:
    """Write the page."""
    Path(file).write_text(settings_markdown(), encoding="utf-8")


def settings_markdown() -> str:
    """The page: a table of each config, then the defaults by kind of training."""
    parts = [HEAD]
    for title, kind in (("Training", TrainConfig), ("Split", SplitConfig)):
        rows = [
            (
                _option(name),
                expected(schema).split(" that is")[0],
                _default(name, schema["default"]),
                text,
            )
            for name, schema in kind.model_json_schema()["properties"].items()
            if (text := schema["description"]) and (kind is TrainConfig or name != "seed")
        ]
        header = ("option", "values", "default", "what it does")
        parts += [f"## {title}\n", _table(header, rows)]
    by_kind = [
        (_option(name), *(str(values[name]) for values in KINDS.values()))
        for name in KINDS["frozen backbone"]
    ]
    return "\n".join([*parts, BY_KIND, _table(("option", *KINDS), by_kind)])


def _option(name: str) -> str:
    return f"`--{name.replace('_', '-')}`"


def _default(name: str, value: object) -> str:
    if depends_on_model(name):
        return "by model"
    if isinstance(value, bool):
        return str(value).lower()
    return "none" if value is None else str(value)


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    cells = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(row)} |\n" for row in cells)
