"""`oflow dead-letters`: what failed for reasons of the service is listed, and runs again as a new job."""

import io
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner, Result

from service.api.background.tasks import queue_lost_jobs
from service.api.dead_letters import CODES, dead_letters
from service.api.dependencies import GatewayContext
from service.cli.app import app
from service.core.jobs.record import Job, JobError, State
from service.core.settings import get_settings
from tests.conftest import messages
from tests.deploy.test_monitoring import ALERTS
from tests.integration.acting_worker import finish
from tests.integration.service_processes import ANY_INPUT
from tests.integration.test_backup import add, context_of, place


@pytest.fixture(scope="module")
def environment(server_env: dict[str, str]) -> dict[str, str]:
    return place(server_env, 9)


@pytest.fixture
def context(environment: dict[str, str]) -> Iterator[GatewayContext]:
    """That of a service with an empty database of its own, of which no process runs."""
    found = context_of(environment)
    found.redis.flushdb()
    found.store.prepare()
    found.registry.announce(ANY_INPUT)
    yield found
    found.redis.flushdb()


def oflow(environment: dict[str, str], *command: str) -> Result:
    get_settings.cache_clear()
    try:
        return CliRunner().invoke(app, command, env=environment)
    finally:
        get_settings.cache_clear()


def failed(context: GatewayContext, code: str) -> Job:
    job = add(context, "lab")
    attempt = context.jobs.claim(job.id, 3)
    assert attempt is not None
    assert context.jobs.fail(attempt, JobError(code=code, message=f"because of {code}"))
    return attempt


def test_a_dead_letter_runs_again(context: GatewayContext, environment: dict[str, str]) -> None:
    lost, _ = failed(context, "worker_lost"), failed(context, "empty_surface")
    listed = oflow(environment, "dead-letters", "list")
    assert listed.stdout.count("\n") == 1, listed.stderr
    assert listed.stdout.startswith(f"{lost.id}  ")
    assert listed.stdout.endswith("  any  lab  1  worker_lost  because of worker_lost\n")

    done = oflow(environment, "dead-letters", "retry", "--all")
    assert done.exit_code == 0, done.stderr
    old, new = done.stdout.strip().split(" -> ")
    assert old == lost.id
    again = context.jobs.get(new)
    assert again is not None
    assert (again.owner, again.options, again.input, again.state) == (
        lost.owner, lost.options, lost.input, State.QUEUED
    )  # fmt: skip
    assert abs((again.expires_at - again.created_at) - (lost.expires_at - lost.created_at)) < timedelta(
        seconds=1
    )
    assert context.store.time_over(again.files_prefix, "input", timedelta()) == again.expires_at
    queue_lost_jobs(context)
    assert new in " ".join(messages(context.redis, "any"))
    finish(context, new)
    ended = context.jobs.get(lost.id)
    assert ended is not None
    assert ended.state is State.FAILED, "a job ends once"

    assert oflow(environment, "dead-letters", "list").stdout == ""
    twice = oflow(environment, "dead-letters", "retry", lost.id)
    assert twice.exit_code == 1
    assert twice.stderr == f"Not submitted again: {lost.id} has been submitted again as {new}\n"


def test_what_is_no_dead_letter_or_has_no_input_is_named(
    context: GatewayContext, environment: dict[str, str]
) -> None:
    bare, altered, theirs = (
        failed(context, code) for code in ("internal_error", "out_of_memory", "invalid_options")
    )
    context.store.delete(bare.input_key)
    context.store.put(altered.input_key, io.BytesIO(b"other"), "text/plain", datetime.now(UTC))
    told = oflow(environment, "dead-letters", "retry", bare.id, altered.id, theirs.id, "nothing")
    assert told.exit_code == 1
    assert told.stderr.splitlines() == [
        f"Not submitted again: the input of {bare.id} is missing",
        f"Not submitted again: the input of {altered.id} has been altered",
        f"Not submitted again: {theirs.id} is no dead letter (failed, invalid_options)",
        "Not submitted again: nothing is no dead letter (unknown)",
    ]
    assert {job.id for job in dead_letters(context.jobs)} == {bare.id, altered.id}, "they may be tried again"
    neither = oflow(environment, "dead-letters", "retry")
    assert neither.exit_code == 2
    assert neither.stderr == "Name the jobs, or give --all\n"


def test_the_alert_counts_what_becomes_a_dead_letter() -> None:
    [alert] = [alert for alert in ALERTS if alert["alert"] == "OflowJobsFail"]
    counted = alert["expr"].split('code=~"')[1].split('"')[0]
    assert set(counted.split("|")) == CODES
