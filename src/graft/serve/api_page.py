"""The page at /docs: the OpenAPI document for people, without a script and without a CDN."""

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined


def api_page(document: dict[str, Any], address: str) -> str:
    """The page of a document, served at an address (http://HOST:PORT). Text in it is escaped."""
    environment = Environment(
        loader=PackageLoader("graft.serve", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    operations = [
        (method.upper(), path, operation)
        for path, item in document["paths"].items()
        for method, operation in item.items()
    ]
    schemas = document["components"]["schemas"]
    keyed = "securitySchemes" in document["components"]
    parameter = document["paths"]["/v1/models/{name}"]["get"]["parameters"][0]
    return environment.get_template("api_page.html").render(
        info=document["info"],
        address=address,
        operations=operations,
        keyed=keyed,
        names=parameter["schema"].get("enum", []),
        fields=schemas["Prediction"]["properties"],
    )
