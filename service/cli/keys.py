"""`oflow keys`: make, list, rotate and revoke the keys of a gateway."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.connections import connected
from service.core.extras import needs
from service.core.scope import Scope

if TYPE_CHECKING:  # packages of a gateway, which a client need not have
    from service.api.keys import KeyStore
    from service.core.settings import Settings


keys = typer.Typer(
    help="Manage the bearer keys of the service in the OFLOW_… variables.", no_args_is_help=True
)


@keys.command()
@needs("gateway")
def create(
    name: Annotated[str, typer.Argument(help="Who the key is for.")],
    rate_limit: Annotated[
        int | None, typer.Option(min=1, help="Requests per minute; default: OFLOW_RATE_LIMIT.")
    ] = None,
    open_jobs: Annotated[
        int | None, typer.Option(min=1, help="Jobs that may be open at once; default: OFLOW_OPEN_JOBS.")
    ] = None,
    scope: Annotated[
        Scope,
        typer.Option(help="`read` its jobs, `submit` and cancel them, or `admin`: those of all keys."),
    ] = Scope.SUBMIT,
    days: Annotated[
        float | None, typer.Option(min=0.01, help="How long it is valid; default: for ever.")
    ] = None,
    owner: Annotated[
        str | None,
        typer.Option(help="Id of an earlier key that was lost; its jobs become this key's."),
    ] = None,
) -> None:
    """Create a key and print it once; only its hash is stored."""
    from service.api.webhooks import secret_text
    from service.core.settings import get_settings

    settings = get_settings()
    lifetime = timedelta(days=days) if days else None
    with _keys(settings) as store:
        key, text = store.create(name, rate_limit, open_jobs, scope=scope, lifetime=lifetime, owner_id=owner)
    typer.echo(text)
    typer.echo(f"Created key {key.id} for {name}. It will not be shown again.", err=True)
    if settings.webhook_secret is not None:
        typer.echo(f"Its webhooks are signed with {secret_text(settings, key.owner)}", err=True)


@keys.command()
@needs("gateway")
def rotate(
    key_id: Annotated[str, typer.Argument(help="An id from `oflow keys list`.")],
    overlap_hours: Annotated[float, typer.Option(min=0, help="How long the old key stays valid.")] = 24,
) -> None:
    """Print a new key for the same jobs, with the same limits; the old one expires."""
    from service.core.settings import get_settings

    with _keys(get_settings()) as store:
        made = store.rotate(key_id, timedelta(hours=overlap_hours))
    if made is None:
        typer.echo(f"There is no active key {key_id!r}: `oflow keys list` shows them", err=True)
        raise typer.Exit(1)
    key, text = made
    typer.echo(text)
    typer.echo(f"Created key {key.id} for {key.name}; {key_id} expires in {overlap_hours:g} h.", err=True)


@keys.command("list")
@needs("gateway")
def list_keys() -> None:
    """List the keys: id, creation date, limits, scope, state, name."""
    from service.core.settings import get_settings

    settings = get_settings()
    with _keys(settings) as store:
        known = list(store.all())
    for key in known:
        limits = f"{key.rate_limit or settings.rate_limit}/min {key.open_jobs or settings.open_jobs} jobs"
        state = "active"
        if key.revoked_at:
            state = f"revoked {key.revoked_at:%Y-%m-%d}"
        elif key.expires_at:
            state = f"{'expires' if key.is_active else 'expired'} {key.expires_at:%Y-%m-%d %H:%M}"
        same = f" (jobs of {key.owner})" if key.owner != key.id else ""
        typer.echo(f"{key.id}  {key.created_at:%Y-%m-%d}  {limits}  {key.scope}  {state}  {key.name}{same}")


@keys.command()
@needs("gateway")
def audit() -> None:
    """List what was done to keys: time, action, id, scope, by whom, name."""
    from service.core.settings import get_settings

    with _keys(get_settings()) as store:
        entries = list(store.history())
    for entry in entries:
        typer.echo("  ".join(entry[name] for name in ("at", "action", "key", "scope", "by", "name")))


@keys.command()
@needs("gateway")
def revoke(key_id: Annotated[str, typer.Argument(help="An id from `oflow keys list`.")]) -> None:
    """Revoke a key. Its jobs continue and expire as usual."""
    from service.core.settings import get_settings

    with _keys(get_settings()) as store:
        key = store.revoke(key_id)
    if key is None:
        typer.echo(f"There is no key {key_id!r}: `oflow keys list` shows them", err=True)
        raise typer.Exit(1)
    typer.echo(f"Revoked key {key.id} of {key.name}")


@contextmanager
def _keys(settings: "Settings") -> "Iterator[KeyStore]":
    from service.api.keys import KeyStore

    with connected(settings, socket_timeout=5, retry=None) as redis:
        yield KeyStore(redis)
