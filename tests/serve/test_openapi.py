"""The OpenAPI document: true of the server, and readable without a network."""

import re

import pytest


def test_the_document_names_every_route_and_the_page_loads_nothing(client):
    document = client.get("/openapi.json").json
    assert document["openapi"].startswith("3.1")
    names = document["paths"]["/v1/models/{name}"]["get"]["parameters"][0]["schema"]["enum"]
    assert names == ["digits"]
    page = client.get("/docs")
    text = page.body.decode()
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    for path in document["paths"]:
        assert f"<code>{path}</code>" in text
    assert "<script" not in text
    assert f"@photo.jpg http://127.0.0.1:{client.port}/v1/models/digits:predict" in text
    assert not re.search(r"(src|href)=[\"']?(https?:)?//", text)


def test_the_document_tells_every_status_that_is_answered(client, digit_files):
    told = client.get("/openapi.json").json["paths"]["/v1/models/{name}:predict"]["post"][
        "responses"
    ]
    assert {"200", "400", "404", "413", "415", "422", "429", "503", "504"} <= told.keys()
    assert "401" not in told, "there is no key"


def fuzzed(client, examples):
    schemathesis = pytest.importorskip("schemathesis", reason="needs schemathesis")
    from hypothesis import HealthCheck, Phase, settings
    from schemathesis import checks
    from schemathesis.generation import GenerationMode
    from schemathesis.specs.openapi import checks as openapi

    schema = schemathesis.openapi.from_url(f"http://127.0.0.1:{client.port}/openapi.json")
    schema.config.generation.update(modes=list(GenerationMode))
    wanted = [
        checks.not_a_server_error,
        openapi.status_code_conformance,
        openapi.content_type_conformance,
        openapi.response_schema_conformance,
        openapi.response_headers_conformance,
        openapi.negative_data_rejection,
        openapi.unsupported_method,
        openapi.use_after_free,
    ]
    calls = 0
    for result in schema.get_all_operations():
        operation = result.ok()

        @settings(
            max_examples=examples,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @schema_given(operation)
        def ask(case):
            nonlocal calls
            calls += 1
            case.call_and_validate(checks=wanted)

        ask()
    return calls


def schema_given(operation):
    from hypothesis import given, strategies
    from schemathesis.generation import GenerationMode

    modes = [GenerationMode.POSITIVE]
    if operation.body or operation.path_parameters:
        modes.append(GenerationMode.NEGATIVE)
    return given(case=strategies.one_of([operation.as_strategy(generation_mode=m) for m in modes]))


def test_schemathesis_finds_nothing_in_a_few_requests(client):
    assert fuzzed(client, 3) > 20


@pytest.mark.slow
def test_schemathesis_finds_nothing(client):
    assert fuzzed(client, 100) > 500
