import threading
from collections.abc import Iterator

import pytest

from tests.service.client.scripted_server import Server


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()
