"""The command `service`: a gateway's keys, and its client."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.client.commands import cancel, download, list_jobs, reconstruct, status

if TYPE_CHECKING:  # the packages of a gateway, which a client need not have
    from service.api.keys import KeyStore
    from service.core.settings import Settings

app = typer.Typer(
    help="Use a gateway, and look after one. Settings come from OFLOW_… environment variables.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
keys = typer.Typer(help="Bearer keys: who may use the gateway.", no_args_is_help=True)
app.add_typer(keys, name="keys")
for command in (reconstruct, status, download, cancel):
    app.command()(command)
app.command("list")(list_jobs)


@app.command()
def up(
    port: Annotated[int, typer.Option(min=1, max=65535, help="The gateway's port, on loopback.")] = 8000,
    workers: Annotated[int, typer.Option(min=1, help="Each runs one job at a time.")] = 1,
    data: Annotated[Path | None, typer.Option(help="Keeps jobs and files; else they go with it.")] = None,
) -> None:
    """Run a whole service on this machine, without Docker (needs the extra `local` and a worker's)."""
    from service.local.__main__ import up as run

    run(port, workers, data)


@keys.command()
def create(
    name: Annotated[str, typer.Argument(help="Whose it is, or what it is for.")],
    rate_limit: Annotated[
        int | None, typer.Option(min=1, help="Requests a minute, instead of OFLOW_RATE_LIMIT.")
    ] = None,
    open_jobs: Annotated[
        int | None, typer.Option(min=1, help="Jobs at once, instead of OFLOW_OPEN_JOBS.")
    ] = None,
) -> None:
    """Make a key and print it, this once: only its hash is kept."""
    from service.api.webhooks import secret_text
    from service.core.settings import get_settings

    settings = get_settings()
    with _keys(settings) as store:
        key, text = store.create(name, rate_limit, open_jobs)
    typer.echo(text)
    typer.echo(f"This is key {key.id}, {name}. It is not shown again.", err=True)
    if settings.webhook_secret is not None:
        typer.echo(f"Its webhooks are signed with {secret_text(settings, key.id)}", err=True)


@keys.command("list")
def list_keys() -> None:
    """List the keys: id, when it was made, its limits, whether it was revoked, name."""
    from service.core.settings import get_settings

    settings = get_settings()
    with _keys(settings) as store:
        known = list(store.all())
    for key in known:
        limits = f"{key.rate_limit or settings.rate_limit}/min {key.open_jobs or settings.open_jobs} jobs"
        state = f"revoked {key.revoked_at:%Y-%m-%d}" if key.revoked_at else "active"
        typer.echo(f"{key.id}  {key.created_at:%Y-%m-%d}  {limits}  {state}  {key.name}")


@keys.command()
def revoke(key_id: Annotated[str, typer.Argument(help="The id that `list` shows.")]) -> None:
    """Let a key open nothing any more. Its jobs go on, and expire as they would."""
    from service.core.settings import get_settings

    with _keys(get_settings()) as store:
        key = store.revoke(key_id)
    if key is None:
        typer.echo(f"There is no key {key_id!r}: `service keys list` shows them", err=True)
        raise typer.Exit(1)
    typer.echo(f"{key.id}, {key.name}, is revoked")


@contextmanager
def _keys(settings: "Settings") -> "Iterator[KeyStore]":
    """The keys, with a Redis that does not answer told in a line."""
    from redis import Redis
    from redis.exceptions import RedisError

    from service.api.keys import KeyStore

    url = settings.redis_url.get_secret_value()
    try:
        yield KeyStore(
            Redis.from_url(url, decode_responses=True, socket_connect_timeout=3, socket_timeout=5, retry=None)
        )
    except RedisError as error:
        typer.echo(f"The Redis in OFLOW_REDIS_URL does not answer: {error}", err=True)
        raise typer.Exit(1) from None


if __name__ == "__main__":
    app()
