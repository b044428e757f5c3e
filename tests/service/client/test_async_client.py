"""The asynchronous client: the interface of the synchronous one, and a scripted server."""

import asyncio
import inspect
import json
from collections.abc import AsyncIterator, Coroutine, Iterator
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import pytest

from service.client import AsyncClient, Client, ServiceError
from service.core.jobs.record import JobEvent, State
from tests.service.client.scripted_server import Server

KNEES = Path("service/page/samples/knees.npz").resolve()
JOB = "0" * 32


def methods(kind: type) -> dict[str, Any]:
    public = {name: member for name, member in inspect.getmembers(kind) if not name.startswith("_")}
    return public | {"__init__": kind.__init__}  # type: ignore[misc]


def test_both_clients_have_the_same_methods_and_signatures() -> None:
    ours, twins = methods(Client), methods(AsyncClient)
    assert ours.keys() == twins.keys()
    for name, method in ours.items():
        if isinstance(method, property):
            assert isinstance(twins[name], property)
            continue
        assert inspect.signature(method).parameters == inspect.signature(twins[name]).parameters, name
        returned, twin_returned = (get_type_hints(one)["return"] for one in (method, twins[name]))
        if get_origin(returned) is Iterator:
            assert get_origin(twin_returned) is AsyncIterator, name
            assert get_args(twin_returned) == get_args(returned), name
        else:
            assert twin_returned == returned, name
            assert name == "__init__" or inspect.iscoroutinefunction(twins[name]), name


def run(use: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(use, 30))


def test_events_are_resumed_after_the_last_one(server: Server) -> None:
    events = [
        {
            "at": "2026-01-01T00:00:00Z",
            "state": state,
            "progress": {"stage": "flow", "percent": 40},
            "attempt": 1,
        }
        for state in State
    ]
    blocks = [f"id: {number}\ndata: {json.dumps(event)}\n\n" for number, event in enumerate(events, 1)]
    path = f"GET /jobs/{JOB}/events"
    for body in (": hello\n\n" + blocks[0], blocks[1] + blocks[2]):  # the first one breaks off
        server.answer(path, body, kind="text/event-stream")

    async def follow() -> list[JobEvent]:
        async with AsyncClient(server.address) as client:
            return [event async for event in client.follow(JOB)]

    assert [event.state for event in run(follow())] == ["queued", "running", "succeeded"]
    assert server.asked == [(path, None), (path, "1")]


def test_a_busy_server_is_asked_again_and_a_refusal_is_told(server: Server) -> None:
    problem = {"title": "Invalid", "code": "invalid_sequence", "detail": "no points"}
    server.answer("POST /reconstruct", {"title": "Full", "code": "queue_full"}, 503)
    server.answer("POST /reconstruct", problem, 422, "application/problem+json")

    async def submit() -> None:
        async with AsyncClient(server.address) as client:
            await client.reconstruct(KNEES)

    with pytest.raises(ServiceError, match="no points") as caught:
        run(submit())
    assert (caught.value.status, len(server.asked)) == (422, 2)


def test_a_server_that_is_down_is_told() -> None:
    async def ask() -> None:
        async with AsyncClient("http://127.0.0.1:9", patience=0.1) as client:
            await client.models()

    with pytest.raises(ServiceError, match=r"No answer from http://127\.0\.0\.1:9 "):
        run(ask())
