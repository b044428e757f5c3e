"""`python -m service`: run the gateway on OFLOW_HOST:OFLOW_PORT."""

from types import FrameType

import uvicorn

from service.api.app import create_app
from service.api.http.limits import HEAD_BYTES
from service.api.http.protocol import HardenedHTTPProtocol
from service.core.settings import get_settings

STOP_SECONDS = 3  # for requests under way


class Server(uvicorn.Server):
    """Before it waits for open requests, it ends those that wait for jobs: they can be asked again."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        self.config.app.state.context.subscriptions.close()  # type: ignore[union-attr]  # it is our FastAPI app


if __name__ == "__main__":
    settings = get_settings()
    config = uvicorn.Config(
        create_app(settings),
        host=settings.host,
        port=settings.port,
        http=HardenedHTTPProtocol,
        ws="none",
        h11_max_incomplete_event_size=2 * HEAD_BYTES,  # beyond this the server does not even parse
        proxy_headers=False,  # nothing here asks who a proxy speaks for
        log_config=None,  # ours
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=STOP_SECONDS,
    )
    Server(config).run()
