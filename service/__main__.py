"""`python -m service`: serve the gateway on OFLOW_HOST:OFLOW_PORT."""

import sys
from types import FrameType

import uvicorn

from service.api.app import create_app
from service.api.http.limits import HEAD_BYTES
from service.api.http.protocol import HardenedHTTPProtocol
from service.core.redis_version import require_version
from service.core.settings import get_settings

SWITCH_SECONDS = 0.0005  # for which a thread that parses an upload may hold up all other requests at a time
STOP_SECONDS = 15  # for requests in progress, such as an upload; less than the grace period of containers


class Server(uvicorn.Server):
    """Ends requests that wait for jobs before waiting for all others; clients can simply repeat them."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        self.config.app.state.context.subscriptions.close()  # type: ignore[union-attr]  # it is our FastAPI app


if __name__ == "__main__":
    sys.setswitchinterval(SWITCH_SECONDS)
    settings = get_settings()
    require_version(settings)
    config = uvicorn.Config(
        create_app(settings),
        host=settings.host,
        port=settings.port,
        http=HardenedHTTPProtocol,
        ws="none",
        h11_max_incomplete_event_size=2 * HEAD_BYTES,  # not parsed at all beyond this
        proxy_headers=False,  # client addresses are not used
        log_config=None,  # configured by create_app
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=STOP_SECONDS,
    )
    Server(config).run()
