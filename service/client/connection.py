"""What `Client` and `AsyncClient` share besides their calls: arguments, connections, patience."""

from abc import ABC, abstractmethod
from typing import Any, Generic, TypeVar

import httpx

from service.client.retrying import Attempts, attempts, base_url
from service.core.jobs.views import JobView

ADDRESS = "http://127.0.0.1:8000"
UPLOAD_ABOVE = 16 * 2**20  # bytes; larger files go directly to the object store
CONNECT = 5.0  # seconds to open a connection
# Proxies of the environment are for the internet, not for servers nearby.
STORE: dict[str, Any] = {"timeout": 300, "trust_env": False}

Http = TypeVar("Http", httpx.Client, httpx.AsyncClient)


class JobFailedError(Exception):
    """A job that ended without a result."""

    def __init__(self, job: JobView) -> None:
        super().__init__(job.error.message if job.error else f"the job was {job.state}")
        self.job = job


class Connection(ABC, Generic[Http]):
    """Connections of the kind `_kind` to one server."""

    _kind: type[Http]

    def __init__(
        self,
        address: str = ADDRESS,
        key: str | None = None,
        *,
        timeout: float = 30,
        patience: float = 60,
        upload_above: int = UPLOAD_ABOVE,
    ) -> None:
        self._has_answered = False
        self._http: Http = self._kind(
            base_url=base_url(address),
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(timeout, connect=min(timeout, CONNECT)),
            trust_env=STORE["trust_env"],
            event_hooks={"response": [self._note]},
        )
        self._patience = patience
        self._upload_above = upload_above

    @property
    def address(self) -> str:
        return str(self._http.base_url).rstrip("/")

    @abstractmethod
    def _note(self, _answer: httpx.Response) -> Any:
        """Remember that the server has answered."""

    def _attempts(self, kind: type[Attempts]) -> Attempts:
        return attempts(kind, self._patience, lambda: self._has_answered)
