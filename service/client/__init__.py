"""Client for the HTTP API: `Client` in Python, `oflow` on the command line."""

from service.client.client import Client, JobFailedError
from service.client.retrying import ServiceError

__all__ = ["Client", "JobFailedError", "ServiceError"]
