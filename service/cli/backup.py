"""`oflow backup` and `oflow restore`: the records and files of a service in a folder."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from service.cli.connections import servers
from service.core.extras import needs

RECORDS = "records.jsonl"


@needs("gateway")
def backup(
    folder: Annotated[Path, typer.Argument(help="Where to; one that holds a backup is brought up to date.")],
) -> None:
    """Copy all records and files of the service in the OFLOW_… variables, while it runs.

    The folder then holds what callers sent and received, and hashes of their keys: keep it as safe as those.
    """
    from service.api.backup.objects import fetch_objects
    from service.api.backup.records import read_records

    began = time.monotonic()
    with servers() as (redis, store):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Records first: of a job that ends in between, the backup holds files too many instead of too few.
        partial = folder / f"{RECORDS}.part"
        count = 0
        with partial.open("w") as file:
            for line in read_records(redis):
                file.write(line + "\n")
                count += 1
        fetched = fetch_objects(store, folder, _progress("files fetched"))
        partial.rename(folder / RECORDS)
    seconds = time.monotonic() - began
    typer.echo(f"Backed up {count:,} records and {fetched:,} new files to {folder} in {seconds:.1f} s")


@needs("gateway")
def restore(
    folder: Annotated[Path, typer.Argument(help="What `oflow backup` wrote.")],
) -> None:
    """Restore a backup into an empty Redis and a bucket, while no gateway and no worker runs.

    Jobs that were queued or running at the time of the backup run again.
    """
    from service.api.backup.objects import send_objects
    from service.api.backup.records import job_count, write_records

    records = folder / RECORDS
    if not records.is_file():
        _fail(f"{folder} holds no complete backup: {RECORDS} is missing")
    began = time.monotonic()
    with servers() as (redis, store):
        if known := job_count(redis):
            _fail(f"This Redis knows {known:,} jobs already: restore into an empty one")
        store.prepare()
        sent = send_objects(store, folder, _progress("files stored"))
        with records.open() as file:
            count = write_records(redis, file)
    seconds = time.monotonic() - began
    typer.echo(f"Restored {count:,} records and {sent:,} files in {seconds:.1f} s")


def _progress(text: str) -> Callable[[int, int], None]:
    def show(done: int, total: int) -> None:
        if done == total or done % 100 == 0:
            typer.echo(f"{done:,} of {total:,} {text}", err=True)

    return show


def _fail(message: str) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(1)
