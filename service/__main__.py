"""`python -m service`: run the gateway on OFLOW_HOST:OFLOW_PORT."""

import uvicorn

from service.settings import get_settings

if __name__ == "__main__":
    settings = get_settings()
    uvicorn.run(
        "service.app:create_app",
        factory=True,
        host=settings.host,
        port=settings.port,
        log_level=settings.log_level,
        server_header=False,
    )
