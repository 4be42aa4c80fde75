"""The pages' templates, and how they write numbers."""

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from graft.report import numbers
from graft.report.glossary import TermsUsed

FILTERS = ("percent", "span", "whole", "decimal", "duration", "moment", "flat")


def render(template: str, **values: Any) -> str:
    """The page that a template makes of these values. Text in them is escaped."""
    environment = Environment(
        loader=PackageLoader("graft.report", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    terms = TermsUsed()
    environment.globals |= {
        "numbers": numbers,
        "counted": numbers.counted,
        "term": terms.link,
        "terms": terms,
    }
    for name in FILTERS:
        environment.filters[name] = getattr(numbers, name)
    return environment.get_template(template).render(**values)
