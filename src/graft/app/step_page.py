"""The pages of the app: one template for each step, its texts from one file for each language."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse

PAGES = Path(__file__).parent / "pages"
TEXTS = Path(__file__).parent / "texts"
STEPS = ("images", "check", "train", "results", "try", "use")

# A step's texts by key; a text with a count has one for each plural form: {"one": …, "other": …}.
Texts = Mapping[str, Mapping[str, Any]]


def read_texts(language: str = "en") -> Texts:
    """The texts of a language: for each step, and "shell" for what all pages share, by key."""
    files = sorted((TEXTS / language).glob("*.json"))
    return {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in files}


class StepPages:
    """Makes the page of a step from `STEP_page.html`, which extends shell.html."""

    def __init__(self, texts: Texts, language: str = "en", steps: Sequence[str] = STEPS) -> None:
        self.texts, self.language, self.steps = texts, language, steps
        self.environment = Environment(
            loader=FileSystemLoader(PAGES),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    def response(self, step: str, page: str = "", **values: Any) -> HTMLResponse:
        """The page; in the template `t` has the step's texts, `shell` those of all pages."""
        shared = self.texts["shell"]
        text = self.environment.get_template(f"{page or step}_page.html").render(
            step=step,
            steps=self.steps,
            language=self.language,
            t=self.texts[step],
            shell=shared,
            texts={**shared, **self.texts[step]},
            **values,
        )
        return HTMLResponse(text, headers={"cache-control": "no-store"})
