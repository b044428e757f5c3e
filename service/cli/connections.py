"""The servers that OFLOW_… variables describe, for commands that an operator runs."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:  # packages of a gateway, which a client need not have
    from redis import Redis

    from service.core.object_store import ObjectStore
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


@contextmanager
def servers() -> "Iterator[tuple[Redis, ObjectStore]]":
    """Redis and the object store of the settings; exits with one line if one of them does not answer."""
    from botocore.exceptions import BotoCoreError, ClientError

    from service.core.object_store import ObjectStore
    from service.core.settings import get_settings

    settings = get_settings()
    try:
        with connected(settings) as redis:
            yield redis, ObjectStore(settings)
    except (BotoCoreError, ClientError) as error:
        typer.echo(f"The object store does not answer: {error}", err=True)
        raise typer.Exit(1) from None
