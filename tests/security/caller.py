"""Clients for security tests: one with an API key, and raw socket connections."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from service.api.keys import Key
from tests.integration.service_processes import Gateway


class Caller:
    """A client with an API key."""

    def __init__(self, gateway: Gateway, key: Key, text: str) -> None:
        self.gateway, self.key, self.text = gateway, key, text
        self.headers = {"Authorization": f"Bearer {text}"}

    def send(self, method: str, path: str, **request: Any) -> httpx.Response:
        headers = self.headers | request.pop("headers", {})
        return self.gateway.client.request(method, path, headers=headers, **request)

    def submit(self, file: bytes, **options: Any) -> dict[str, Any]:
        response = self.send("POST", "/reconstruct", files={"file": ("a.npz", file)}, data=options)
        assert response.status_code == 202, response.text
        job: dict[str, Any] = response.json()
        return job


@contextmanager
def connected(gateway: Gateway, buffer: int | None = None) -> Iterator[socket.socket]:
    """A raw connection to a gateway with a receive buffer of `buffer` bytes."""
    with socket.socket() as wire:
        if buffer is not None:
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        wire.settimeout(30)
        wire.connect(("127.0.0.1", gateway.client.base_url.port))
        yield wire


def rest(wire: socket.socket) -> bytes:
    """Read until the gateway closes the connection."""
    received = b""
    try:
        while some := wire.recv(2**16):
            received += some
    except ConnectionResetError:
        pass
    return received


def status(response: bytes) -> int:
    return int(response.split(b" ")[1]) if response else 0
