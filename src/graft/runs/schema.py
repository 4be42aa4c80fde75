"""What each JSON file of a run may hold: types, bounds, and counts that agree.

A field that this graft does not know is left alone where nothing reads it: a newer graft of the
same format may add some. Where a field goes into a constructor or a network, unknown ones are
refused. A field that is missing is an error only where it is needed: reports leave out what an
older run did not keep.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from graft.runs.reading import shown

# Larger than any count of images, parameters or bytes; beyond it numbers are made up.
LARGEST_COUNT = 10**12


class Part(BaseModel):
    """A JSON object. Types are strict: neither true nor "3" is a number."""

    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)


class Closed(Part):
    """A JSON object without fields beyond those declared."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


Text = Annotated[str, Field(max_length=100_000)]
Name = Annotated[str, Field(min_length=1, max_length=10_000)]
Count = Annotated[int, Field(ge=0, le=LARGEST_COUNT)]
Fraction = Annotated[float, Field(ge=-1e-9, le=1 + 1e-9)]
Number = Annotated[float, Field(ge=-1e12, le=1e12)]
Seconds = Annotated[float, Field(ge=0, le=1e12)]
Ends = Annotated[list[Fraction], Field(min_length=2, max_length=2)]
Names = list[Name]
Record = dict[str, Any]

# Where pydantic names the form of a value that has two: schema_confusion.py.
FORMS = (("confusion", "matrix"), ("confusion", "cells"))
# Plainer words for pydantic's, by the type of the problem.
SAID = {
    "missing": "is missing",
    "extra_forbidden": "is no field that graft takes",
    "model_type": "expected an object",
    "dict_type": "expected an object",
    "list_type": "expected a list",
    "string_type": "expected a text",
    "float_type": "expected a number",
    "int_type": "expected a whole number",
    "string_unicode": "expected a text, without half of a surrogate pair",
}


def check(schema: Any, value: Any, name: str, complete: bool = True) -> None:
    """Raise ValueError, one line that names the file, the field, what was expected and what came,
    unless `value` is as the schema (a model or another type) says. Without `complete`, fields may
    be missing.
    """
    try:
        TypeAdapter(schema).validate_python(value, strict=True)
    except ValidationError as error:
        problems = error.errors(include_url=False)
        wrong = [each for each in problems if complete or each["type"] != "missing"]
        if wrong:
            raise ValueError(_explained(name, wrong[0], len(wrong))) from None
    except RecursionError as error:
        raise ValueError(f"{name}: deeper than any file of a run") from error


def _explained(name: str, problem: Mapping[str, Any], count: int) -> str:
    place = problem["loc"]
    if place[:2] in FORMS:
        place = (place[0], *place[2:])
    where = shown(".".join(map(str, place)), 120)
    said = str(problem["msg"]).removeprefix("Value error, ")
    said = SAID.get(problem["type"]) or said.replace("Input should be", "expected")
    came = "" if problem["type"] in ("missing", "value_error") else f", got {_came(problem)}"
    more = f" (and {count - 1} more)" if count > 1 else ""
    return f"{name}: {where}: {said}{came}{more}" if where else f"{name}: {said}{came}{more}"


def _came(problem: Mapping[str, Any]) -> str:
    value = problem["input"]
    if isinstance(value, dict | list):
        return f"{'an object' if isinstance(value, dict) else 'a list'} of {len(value):,}"
    try:
        return shown(json.dumps(value), 40)
    except ValueError:  # an integer of thousands of digits
        return "a number that is far too large"


def all_different(names: Iterable[str], what: str) -> None:
    """Raise ValueError for a name that comes twice."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ValueError(f"{what}: {shown(name)!r} comes twice")
        seen.add(name)
