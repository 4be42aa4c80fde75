"""The OpenAPI 3.1 document of the server, written by hand; schemathesis tests it."""

from collections.abc import Sequence
from typing import Any

from graft.serve.limits import Limits
from graft.serve.openapi_schemas import BYTES, SCHEMAS, TEXT, TEXTS, YES, Json, object_of, ref

PROBLEMS = {
    400: "The request is not what its type says",
    401: "No API key, or a wrong one",
    403: "Not allowed",
    404: "There is no such model, version or address",
    408: "The body was not sent in time",
    409: "It cannot be loaded; the old one goes on answering",
    413: "Too many bytes, images or pixels",
    415: "Another content type is expected",
    422: "The image cannot be used",
    429: "The queue is full: send it again later",
    500: "The model failed on it",
    503: "The server is warming up or stopping",
    504: "It was not computed in time",
}


def openapi(names: Sequence[str] | None, version: str, limits: Limits, keyed: bool) -> Json:
    """The document; `names` of the models, where everybody may know them; `keyed`: an API key is
    asked for.
    """
    document: Json = {
        "openapi": "3.1.0",
        "info": {
            "title": "graft serve",
            "version": version,
            "summary": "Trained image classifiers behind HTTP",
            "description": _description(limits),
        },
        "paths": _own_paths(names) | _protocol_paths(names) | _server_paths(),
        "components": {"schemas": SCHEMAS},
    }
    if keyed:
        document["components"]["securitySchemes"] = {
            "bearer": {"type": "http", "scheme": "bearer"},
            "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
        }
        document["security"] = [{"bearer": []}, {"key": []}]
    for path, item in document["paths"].items():
        for operation in item.values():
            if path in NO_KEY:
                operation["security"] = []
            elif not keyed:
                operation["responses"].pop("401", None)
    return document


NO_KEY = {"/healthz", "/readyz", "/v2/health/live", "/v2/health/ready"}


def _description(limits: Limits) -> str:
    return (
        f"One request: at most {limits.upload_megabytes:g} MB, {limits.images:,} images, "
        f"{limits.megapixels:g} megapixels an image. Waiting together: at most "
        f"{limits.queue_images:,} images, {limits.queue_megapixels:,.0f} megapixels. Beyond that "
        "the answer is 429 with Retry-After."
    )


def _answer(schema: Json, what: str = "Done", kind: str = "application/json") -> Json:
    return {"description": what, "content": {kind: {"schema": schema}}}


def _operation(summary: str, answer: Json, problems: Sequence[int] = (), **more: Any) -> Json:
    told = {str(code): _answer(ref("Error"), PROBLEMS[code]) for code in problems}
    return {"summary": summary, "responses": {"200": answer} | told} | more


def _name(names: Sequence[str] | None) -> Json:
    schema: Json = TEXT | {"enum": list(names)} if names else TEXT | {"minLength": 1}
    return {"name": "name", "in": "path", "required": True, "schema": schema}


def _predict_body() -> Json:
    images = {"type": "array", "minItems": 1}  # how many at most: told above, and by 413
    form = {
        "type": "object",
        "properties": {"image": images | {"items": {"type": "string", "format": "binary"}}},
        "required": ["image"],
    }
    shapes: list[Json] = [
        {"image": BYTES},
        {"images": images | {"items": BYTES}},
        {"instances": images | {"items": object_of({"b64": BYTES})}},
    ]
    return {
        "required": True,
        "content": {
            "image/*": {"schema": {"type": "string", "format": "binary"}},
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
            "multipart/form-data": {"schema": form},
            "application/json": {"schema": {"oneOf": [object_of(shape) for shape in shapes]}},
        },
    }


def _own_paths(names: Sequence[str] | None) -> Json:
    computing = (400, 401, 403, 404, 408, 413, 415, 422, 429, 500, 503, 504)
    one_or_more = {"oneOf": [ref("Prediction"), ref("Predictions")]}
    named = [_name(names)]
    return {
        "/v1/models": {
            "get": _operation(
                "The models that are served",
                _answer(object_of({"models": {"type": "array", "items": ref("Model")}})),
                (401,),
                operationId="models",
            )
        },
        "/v1/models/{name}": {
            "get": _operation(
                "One model",
                _answer(ref("Model")),
                (401, 404, 503),
                operationId="model",
                parameters=named,
            )
        },
        "/v1/models/{name}:predict": {
            "post": _operation(
                "Predict an image, or several",
                _answer(one_or_more, "As graft predict --json; a list where several were sent"),
                computing,
                operationId="predict",
                parameters=named,
                requestBody=_predict_body(),
            )
        },
        "/v1/models/{name}:reload": {
            "post": _operation(
                "Load a model again if its folder has changed (needs an API key)",
                _answer(object_of({"changed": YES, "model": ref("Model")})),
                (401, 403, 404, 409, 503),
                operationId="reload",
                parameters=named,
            )
        },
    }


def _protocol_paths(names: Sequence[str] | None) -> Json:
    found: Json = {
        "/v2": {
            "get": _operation(
                "The server, by the Open Inference Protocol",
                _answer(object_of({"name": TEXT, "version": TEXT, "extensions": TEXTS})),
                (401,),
                operationId="v2_server",
            )
        }
    }
    for prefix, suffix in (
        ("/v2/models/{name}", ""),
        ("/v2/models/{name}/versions/{version}", "_version"),
    ):
        named = [_name(names)]
        if suffix:
            version = TEXT | {"minLength": 1}
            named.append({"name": "version", "in": "path", "required": True, "schema": version})
        metadata = _answer(ref("ModelMetadata"))
        ready = _answer(object_of({"name": TEXT, "ready": YES}))
        found[prefix] = {
            "get": _operation(
                "A model's tensors",
                metadata,
                (401, 404, 503),
                operationId=f"v2_model{suffix}",
                parameters=named,
            )
        }
        found[f"{prefix}/ready"] = {
            "get": _operation(
                "Whether a model answers",
                ready,
                (401, 404, 503),
                operationId=f"v2_model_ready{suffix}",
                parameters=named,
            )
        }
        found[f"{prefix}/infer"] = {"post": _infer(named, suffix)}
    return found


def _infer(named: list[Json], suffix: str) -> Json:
    answer = _answer(ref("InferResponse"))
    answer["content"]["application/octet-stream"] = {
        "schema": {"type": "string", "format": "binary"}
    }
    return _operation(
        "Predict tensors",
        answer,
        (400, 401, 403, 404, 408, 413, 415, 422, 429, 500, 503, 504),
        operationId=f"v2_infer{suffix}",
        parameters=named,
        requestBody={
            "required": True,
            "content": {"application/json": {"schema": ref("InferRequest")}},
        },
    )


def _server_paths() -> Json:
    live, ready = _answer(object_of({"live": YES})), _answer(object_of({"ready": YES}))
    not_yet = _answer(object_of({"ready": YES}), PROBLEMS[503])
    found = {}
    for path, name in (("/healthz", "healthz"), ("/v2/health/live", "v2_live")):
        found[path] = {"get": _operation("Whether the process lives", live, operationId=name)}
    for path, name in (("/readyz", "readyz"), ("/v2/health/ready", "v2_ready")):
        found[path] = {"get": _operation("Whether it answers", ready, operationId=name)}
        found[path]["get"]["responses"]["503"] = not_yet
    found["/metrics"] = {
        "get": _operation(
            "Metrics for Prometheus",
            _answer(TEXT, "In Prometheus' text format", "text/plain"),
            (401,),
            operationId="metrics",
        )
    }
    return found
