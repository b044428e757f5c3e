"""The servers that OFLOW_… variables describe, for commands that an operator runs."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:  # packages of a gateway, which a client need not have
    from redis import Redis

    from service.core.settings import Settings


@contextmanager
def connected(settings: "Settings", **options: Any) -> "Iterator[Redis]":
    """Redis, with more `options` of its client; exits with one line if it does not answer."""
    from redis import Redis
    from redis.exceptions import RedisError

    url = settings.redis_url.get_secret_value()
    try:
        yield Redis.from_url(url, decode_responses=True, socket_connect_timeout=3, **options)
    except RedisError as error:
        typer.echo(f"The Redis in OFLOW_REDIS_URL does not answer: {error}", err=True)
        raise typer.Exit(1) from None
