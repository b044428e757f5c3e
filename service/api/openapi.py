"""What the OpenAPI document says beyond what FastAPI finds in the routes."""

import re
from typing import Any

from fastapi import FastAPI

from service.api.http.problems import REF, FaultDetails, ProblemDetails, responses
from service.api.webhooks import WebhookEvent
from service.core.jobs.record import JobEvent

HEADERS: dict[str, Any] = {
    "traceparent": {
        "description": "The W3C trace context of this request.",
        "schema": {"type": "string", "pattern": "^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$"},
    },
    "RateLimit": {
        "description": "Requests that the key has left, and seconds until all come back.",
        "schema": {"type": "string"},
    },
    "RateLimit-Policy": {
        "description": "Requests that the key may make in so many seconds.",
        "schema": {"type": "string"},
    },
}
RETRY_AFTER = {"description": "Seconds to wait before the next request.", "schema": {"type": "integer"}}


def describe(app: FastAPI, *, keys: bool) -> None:
    """Complete the document of `app`: schemas of problems, headers of every answer, and how to show a key."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            _complete(generate(), keys=keys)
        return generate()

    app.openapi = openapi  # type: ignore[method-assign]  # the way FastAPI wants it


def _complete(document: dict[str, Any], *, keys: bool) -> None:
    components = document["components"]
    for model in (ProblemDetails, FaultDetails, JobEvent, WebhookEvent):
        schema = model.model_json_schema(ref_template=REF)
        schema.pop("$defs", None)
        components["schemas"][model.__name__] = schema
    components["headers"] = HEADERS
    document["webhooks"] = {"ended": {"post": _webhook()}}
    if keys:
        components["securitySchemes"] = {
            "key": {"type": "http", "scheme": "bearer", "description": "A key made by `oflow keys create`."}
        }
        document["security"] = [{"key": []}]
    _link(document)
    anywhere = ["headers_too_large", *([] if keys else ["foreign_page", "wrong_host"])]
    for methods in document["paths"].values():
        for operation in methods.values():
            for parameter in operation.get("parameters", []):
                parameter["schema"] = _without_null(parameter["schema"])
            names = ["traceparent"]
            if keys and operation.get("security") != []:
                names += ["RateLimit", "RateLimit-Policy"]
            codes = [*anywhere, *(["too_slow"] if "requestBody" in operation else [])]
            for number, refusal in responses(*codes).items():
                operation["responses"].setdefault(str(number), refusal)
            for status, answer in operation["responses"].items():
                headers = answer.setdefault("headers", {})
                headers |= {name: {"$ref": f"#/components/headers/{name}"} for name in names}
                if status in ("429", "503"):
                    headers["Retry-After"] = RETRY_AFTER


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A parameter may be left out, but none can be sent as null."""
    kinds: list[dict[str, Any]] = [kind for kind in schema.get("anyOf", []) if kind != {"type": "null"}]
    if len(kinds) != 1:
        return schema
    return {name: value for name, value in schema.items() if name != "anyOf"} | kinds[0]


def _webhook() -> dict[str, Any]:
    """What we send to the `webhook_url` of a job."""
    headers = {
        "webhook-id": "The same for every attempt.",
        "webhook-timestamp": "Seconds since 1970; refuse what is old.",
        "webhook-signature": "`v1,` and the base64 of HMAC-SHA256 over `{id}.{timestamp}.{body}`.",
    }
    return {
        "summary": "A job has ended",
        "description": "Standard Webhooks. Sent again, later and later, until it is answered with 2xx.",
        "parameters": [
            {
                "name": name,
                "in": "header",
                "required": True,
                "description": text,
                "schema": {"type": "string"},
            }
            for name, text in headers.items()
        ],
        "requestBody": {
            "content": {"application/json": {"schema": {"$ref": REF.format(model=WebhookEvent.__name__)}}}
        },
        "responses": {"2XX": {"description": "Taken"}},
    }


def _link(document: dict[str, Any]) -> None:
    """Say which request the ids in an answer are for."""
    paths = document["paths"]
    links = {
        paths[path][method]["summary"]: {
            "operationId": paths[path][method]["operationId"],
            "parameters": {"job_id": "$response.body#/id"},
        }
        for path, method in (
            ("/jobs/{job_id}", "get"),
            ("/jobs/{job_id}", "delete"),
            ("/jobs/{job_id}/events", "get"),
            ("/jobs/{job_id}/result", "get"),
        )
    }
    named = {re.sub(r"\W+", "-", name): link for name, link in links.items()}
    submit = paths["/reconstruct"]["post"]
    submit["responses"]["202"]["links"] = named
    paths["/uploads"]["post"]["responses"]["201"]["links"] = {
        "Reconstruct-it": {
            "operationId": submit["operationId"],
            "requestBody": {"upload_id": "$response.body#/upload_id"},
        }
    }
