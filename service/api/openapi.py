"""Additions to the OpenAPI document that FastAPI cannot derive from the routes."""

import re
from typing import Any

from fastapi import FastAPI

from service.api.http.problems import REF, FaultDetails, ProblemDetails, responses
from service.api.webhooks import WebhookEvent
from service.core.jobs.options import Options
from service.core.jobs.record import JobEvent

HEADERS: dict[str, Any] = {
    "traceparent": {
        "description": "W3C trace context of this request.",
        "schema": {"type": "string", "pattern": "^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$"},
    },
    "RateLimit": {
        "description": "Remaining requests, and seconds until the quota resets.",
        "schema": {"type": "string"},
    },
    "RateLimit-Policy": {
        "description": "Request quota and its window in seconds.",
        "schema": {"type": "string"},
    },
}
RETRY_AFTER = {"description": "Seconds to wait before retrying.", "schema": {"type": "integer"}}


def describe(app: FastAPI, *, keys: bool) -> None:
    """Add error schemas, response headers, webhooks and the security scheme to the document of `app`."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            _complete(generate(), keys=keys)
        return generate()

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented extension point


def _complete(document: dict[str, Any], *, keys: bool) -> None:
    components = document["components"]
    for model in (ProblemDetails, FaultDetails, JobEvent, WebhookEvent, Options):
        schema = model.model_json_schema(ref_template=REF)
        for name, definition in {**schema.pop("$defs", {}), model.__name__: schema}.items():
            components["schemas"].setdefault(name, definition)
    components["headers"] = HEADERS
    document["webhooks"] = {"ended": {"post": _webhook()}}
    if keys:
        components["securitySchemes"] = {
            "key": {"type": "http", "scheme": "bearer", "description": "Key from `oflow keys create`."}
        }
        document["security"] = [{"key": []}]
    _link(document)
    common_codes = ["headers_too_large", *([] if keys else ["foreign_page", "wrong_host"])]
    for methods in document["paths"].values():
        for operation in methods.values():
            for parameter in operation.get("parameters", []):
                if "schema" in parameter:
                    parameter["schema"] = without_null(parameter["schema"])
            names = ["traceparent"]
            if keys and operation.get("security") != []:
                names += ["RateLimit", "RateLimit-Policy"]
            codes = [*common_codes, *(["too_slow"] if "requestBody" in operation else [])]
            for number, error in responses(*codes).items():
                operation["responses"].setdefault(str(number), error)
            for status, response in operation["responses"].items():
                headers = response.setdefault("headers", {})
                headers |= {name: {"$ref": f"#/components/headers/{name}"} for name in names}
                if status in ("429", "503"):
                    headers["Retry-After"] = RETRY_AFTER


def without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Remove null from the schema of an optional parameter or field, which are left out instead."""
    kinds: list[dict[str, Any]] = [kind for kind in schema.get("anyOf", []) if kind != {"type": "null"}]
    if len(kinds) != 1:
        return schema
    return {name: value for name, value in schema.items() if name != "anyOf"} | kinds[0]


def _webhook() -> dict[str, Any]:
    """The request sent to a job's `webhook_url`."""
    headers = {
        "webhook-id": "Message id, the same for every delivery attempt.",
        "webhook-timestamp": "Unix time of the attempt in seconds; reject old messages.",
        "webhook-signature": "`v1,` followed by the base64 HMAC-SHA256 of `{id}.{timestamp}.{body}`.",
    }
    return {
        "summary": "Job ended",
        "description": "Follows Standard Webhooks. Retried with exponential backoff until a 2xx response.",
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
        "responses": {"2XX": {"description": "Received"}},
    }


def _link(document: dict[str, Any]) -> None:
    """Add OpenAPI links from responses to the operations that take their ids."""
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
            ("/jobs/{job_id}/input", "get"),
            ("/jobs/{job_id}/result", "get"),
        )
    }
    named = {re.sub(r"\W+", "-", name): link for name, link in links.items()}
    submit = paths["/reconstruct"]["post"]
    submit["responses"]["202"]["links"] = named
    paths["/uploads"]["post"]["responses"]["201"]["links"] = {
        "Reconstruct": {
            "operationId": submit["operationId"],
            "requestBody": {"upload_id": "$response.body#/upload_id"},
        }
    }
