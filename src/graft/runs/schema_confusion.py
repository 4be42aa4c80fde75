"""What `confusion` of metrics.json may hold where there are very many classes."""

from typing import Annotated, Any, Self

from pydantic import Discriminator, Field, Tag, model_validator

from graft.runs.schema import Count, Part


class ConfusionCells(Part):
    """The occupied cells of a confusion matrix of very many classes."""

    true: list[Count]
    predicted: list[Count]
    images: list[Annotated[Count, Field(ge=1)]]
    of_class: list[Count]
    left_out: Count

    @model_validator(mode="after")
    def _cells(self) -> Self:
        if not len(self.true) == len(self.predicted) == len(self.images):
            raise ValueError("true, predicted and images are not of one length")
        if max([*self.true, *self.predicted], default=0) >= len(self.of_class):
            raise ValueError("a cell of a class that there is not")
        return self


def _form(value: Any) -> str:
    return "matrix" if isinstance(value, list) else "cells"


# The names of the two forms stand in no message: graft/runs/schema.py leaves them out.
Confusion = Annotated[
    Annotated[list[list[Count]], Tag("matrix")] | Annotated[ConfusionCells, Tag("cells")],
    Discriminator(_form),
]
