"""Client for the HTTP API: `Client` and `AsyncClient` in Python, `oflow` on the command line."""

from service.client.async_client import AsyncClient
from service.client.client import Client
from service.client.connection import JobFailedError
from service.client.retrying import ServiceError

__all__ = ["AsyncClient", "Client", "JobFailedError", "ServiceError"]
