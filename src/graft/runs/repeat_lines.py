"""How to do again what made a run, and how to use it, from a terminal or in Python.

A run keeps its settings; those that differ from the defaults are said in the lines, so the same
images, machine and seed give the same run.
"""

import os
import shlex
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from graft.choices import FROM_SCRATCH
from graft.errors import UsageError
from graft.runs.records import resolved_settings, source_of
from graft.runs.run import Run

# Where graft serve listens, unless told otherwise.
ADDRESS = "http://127.0.0.1:8000/v1/models/"
# What is made of a run for other programs, as graft export calls it.
FORMATS = ("web", "onnx", "openvino", "torch", "hub-folder", "repository")


@dataclass(frozen=True, slots=True)
class RepeatLine:
    """One `step` as a command for a terminal and as Python, which follows an `import graft`;
    `command` is empty for what only Python does. The Python of "serve" asks the server.
    """

    step: str
    command: str
    python: str


def repeat_lines(
    run: str | Path,
    *,
    out: str | Path | None = None,
    image: str = "photo.jpg",
    max_error: str | None = None,
    min_probability: float = 0.0,
) -> list[RepeatLine]:
    """The steps from the images to the served classifier, in order: check, train, results, predict,
    explain, chat, export (to each format) and serve.

    `out` is where the repeated run goes, by default beside this one; `image` an image to ask about.
    The classifier abstains by `max_error`, such as "2%", or below `min_probability`, which only
    Python takes. Raises ModelError for a run that does not say how it was made, UsageError for both
    at once.
    """
    if max_error and min_probability:
        raise UsageError("max_error sets the probability to answer from; leave out the other")
    found = Run(run)
    name, source = str(run), source_of(found.config, found.path)
    again = str(out or found.path.with_name(f"{found.name}-again"))
    settings = changed_settings(found.config.get("settings") or {})
    asked = ("label_by", "follow_links")
    listing: dict[str, Any] = {key: settings[key] for key in asked if key in settings}
    budget = {"max_error": max_error} if max_error else {}
    policy = _policy(name, max_error, min_probability)
    network = resolved_settings(found.config, found.path).get("model", FROM_SCRATCH[0])
    # Wrong labels are found with a pretrained network alone.
    looks: dict[str, Any] = {**listing}
    if network not in FROM_SCRATCH:
        looks["model"] = network
    return [
        RepeatLine(
            "check", _command("check", source, **looks), _python("graft.check", source, **looks)
        ),
        RepeatLine(
            "train",
            _command("train", source, **settings, out=again),
            _python("run = graft.train", source, **settings, out=again),
        ),
        RepeatLine(
            "results", "", f"{_python('graft.results', name)}.answering_from({min_probability:g})"
        ),
        RepeatLine(
            "predict",
            _command("predict", name, image, **budget),
            f"predictor = {_python('graft.load', name)}\n"
            f"print(predictor.predict({image!r}{policy}))",
        ),
        *_about_an_image(name, image),
        *(_export(name, to) for to in FORMATS),
        RepeatLine("serve", _command("serve", name, **budget), _asking(found.name, image)),
    ]


def changed_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Those of a run's settings that are not the defaults, in their usual order."""
    from graft.config import SplitConfig, TrainConfig  # pydantic takes a while to import

    usual = TrainConfig().to_json() | SplitConfig().to_json()
    return {
        name: settings[name] for name in usual if name in settings and settings[name] != usual[name]
    }


def _about_an_image(run: str, image: str) -> list[RepeatLine]:
    explained = _python("graft.explain", run, image, method="gradients")
    return [
        RepeatLine(
            "explain",
            _command("explain", run, image, method="gradients"),
            f"print({explained}.sentence)",
        ),
        RepeatLine(
            "chat",
            _command("chat", run, image),
            f"print(graft.Chat({run!r}, [{image!r}]).ask('Why?').text)",
        ),
    ]


def _export(run: str, to: str) -> RepeatLine:
    return RepeatLine(
        f"export {to}", _command("export", run, to=to), _python("graft.export_run", run, to=to)
    )


def _policy(run: str, max_error: str | None, min_probability: float) -> str:
    if max_error:
        return f", graft.policy({run!r}, max_error={max_error!r})"
    return f", graft.Policy(min_probability={min_probability:g})" if min_probability else ""


def _asking(name: str, image: str) -> str:
    """What a program asks of the served run, with nothing but Python's own library."""
    return (
        "import urllib.request\n"
        f"with open({image!r}, 'rb') as image:\n"
        f"    asked = urllib.request.Request({ADDRESS + quote(name, safe='') + ':predict'!r}, "
        "image.read(), {'Content-Type': 'application/octet-stream'})\n"
        "print(urllib.request.urlopen(asked).read().decode())"
    )


def _python(function: str, *arguments: str, **named: Any) -> str:
    said = [*map(repr, arguments), *(f"{name}={value!r}" for name, value in named.items())]
    return f"{function}({', '.join(said)})"


def _command(verb: str, *arguments: str, **options: Any) -> str:
    said = []
    for name, value in options.items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            said.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            said += [f"--{flag}", str(value)]
    words = ["graft", verb, *arguments, *said]
    if any(each.startswith("-") for each in arguments):  # the name of a file, and no option
        words = ["graft", verb, *said, "--", *arguments]
    joined: Callable[[list[str]], str] = subprocess.list2cmdline if os.name == "nt" else shlex.join
    return joined(words)
