"""The schemas of the OpenAPI document: what is sent and what is answered."""

from collections.abc import Sequence
from typing import Any

Json = dict[str, Any]

TEXT, NUMBER, WHOLE, YES = (
    {"type": "string"},
    {"type": "number"},
    {"type": "integer"},
    {"type": "boolean"},
)
BYTES = {"type": "string", "contentEncoding": "base64"}
PROBABILITY = {"type": "number", "minimum": 0, "maximum": 1}
SCORE = {"type": ["number", "null"], "minimum": 0}
TEXTS = {"type": "array", "items": TEXT}


def ref(name: str) -> Json:
    """A schema by its name."""
    return {"$ref": f"#/components/schemas/{name}"}


def object_of(properties: Json, optional: Sequence[str] = (), closed: bool = True) -> Json:
    """An object with these properties; `closed`: and no others."""
    found: Json = {"type": "object", "properties": properties}
    if needed := [name for name in properties if name not in optional]:
        found["required"] = needed
    return found | ({"additionalProperties": False} if closed else {})


NEAREST = object_of({"path": TEXT, "label": TEXT, "similarity": NUMBER}, closed=False)
PREDICTION: Json = object_of(
    {
        "path": TEXT | {"description": "The file's name in a form; else empty"},
        "label": {"type": ["string", "null"], "description": "Null where the policy abstains"},
        "best_guess": TEXT | {"description": "The most probable class, also where it abstains"},
        "probability": PROBABILITY | {"description": "Of the best guess"},
        "probabilities": {
            "type": "object",
            "additionalProperties": PROBABILITY,
            "description": "Of every class, summing to 1",
        },
        "reason": TEXT | {"description": "Why it abstains; else empty"},
        "prediction_set": {
            "type": ["array", "null"],
            "items": TEXT,
            "description": "The classes that may be right, with --coverage",
        },
        "ood_score": SCORE | {"description": "Above 1: out of distribution"},
        "nearest": {
            "type": ["array", "null"],
            "items": NEAREST,
            "description": "The training images most like it, with --nearest",
        },
    },
    closed=False,
)
TENSOR: Json = object_of(
    {
        "name": TEXT,
        "datatype": TEXT,
        "shape": {"type": "array", "items": WHOLE},
        "data": {"type": "array"},
        "parameters": {"type": "object"},
    },
    optional=("data", "parameters"),
)
DECLARED = object_of(
    {"name": TEXT, "datatype": TEXT, "shape": {"type": "array", "items": {"type": "integer"}}}
)
PICTURES = {"type": "array", "minItems": 1, "maxItems": 1}
SCHEMAS: Json = {
    "Error": object_of({"error": TEXT, "request_id": TEXT}),
    "Prediction": PREDICTION,
    "Problem": object_of({"path": TEXT, "problem": TEXT}),
    "Predictions": object_of(
        {
            "predictions": {
                "type": "array",
                "items": {"anyOf": [ref("Prediction"), ref("Problem")]},
            }
        }
    ),
    "Model": object_of(
        {"name": TEXT, "version": TEXT, "sha256": TEXT, "classes": TEXTS}, closed=False
    ),
    "ModelMetadata": object_of(
        {
            "name": TEXT,
            "versions": TEXTS,
            "platform": TEXT,
            "inputs": {"type": "array", "items": DECLARED},
            "outputs": {"type": "array", "items": DECLARED},
            "parameters": {"type": "object"},
        }
    ),
    "InferRequest": object_of(
        {
            "id": TEXT,
            "parameters": {"type": "object"},
            "inputs": PICTURES
            | {
                "items": object_of(
                    {
                        "name": {"const": "image"},
                        "datatype": {"const": "BYTES"},
                        "shape": PICTURES | {"items": {"const": 1}},
                        "data": PICTURES | {"items": BYTES},
                    }
                )
            },
            "outputs": {
                "type": "array",
                "items": object_of(
                    {
                        "name": {
                            "enum": ["label", "best_guess", "reason", "probabilities", "ood_score"]
                        },
                        "parameters": {"type": "object"},
                    },
                    optional=("parameters",),
                ),
            },
        },
        optional=("id", "parameters", "outputs"),
        closed=False,
    ),
    "InferResponse": object_of(
        {
            "model_name": TEXT,
            "model_version": TEXT,
            "id": TEXT,
            "outputs": {"type": "array", "items": TENSOR},
            "parameters": {"type": "object"},
        },
        optional=("id",),
    ),
}
