"""`oflow dead-letters`: failed jobs whose cause lies with the service, and submitting them again."""

from typing import Annotated

import typer

from service.cli.connections import servers
from service.core.extras import needs

dead_letters = typer.Typer(
    help="List and retry jobs that failed because of the service in the OFLOW_… variables.",
    no_args_is_help=True,
)


@dead_letters.command("list")
@needs("gateway")
def list_dead_letters() -> None:
    """List them, the latest first: id, end, model, key, attempts, code, message."""
    from service.api.dead_letters import dead_letters
    from service.core.jobs.store import JobStore

    with servers() as (redis, _):
        found = sorted(dead_letters(JobStore(redis)), key=lambda job: job.ended_at or job.created_at)
    for job in reversed(found):
        assert job.error is not None  # noqa: S101  # dead letters have one
        about = f"{job.ended_at:%Y-%m-%d %H:%M}  {job.model}  {job.owner}  {job.attempt}"
        typer.echo(f"{job.id}  {about}  {job.error.code}  {job.error.message}")


@dead_letters.command()
@needs("gateway")
def retry(
    job_ids: Annotated[list[str] | None, typer.Argument(help="Ids from `oflow dead-letters list`.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All that it lists.")] = False,
) -> None:
    """Submit them again as new jobs of the same keys, with the same options, and print the new ids.

    The failed jobs stay as they are, and their callers find the new ones in their list of jobs.
    """
    from service.api.dead_letters import NotRetried, dead_letters
    from service.api.dead_letters import retry as submit_again
    from service.core.jobs.store import JobStore

    if every == bool(job_ids):
        typer.echo("Name the jobs, or give --all", err=True)
        raise typer.Exit(2)
    failed = False
    with servers() as (redis, store):
        jobs = JobStore(redis)
        for job_id in job_ids or [job.id for job in dead_letters(jobs)]:
            try:
                typer.echo(f"{job_id} -> {submit_again(jobs, store, job_id).id}")
            except NotRetried as error:
                typer.echo(f"Not submitted again: {error}", err=True)
                failed = True
    if failed:
        raise typer.Exit(1)
