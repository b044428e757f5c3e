"""The asynchronous client with a running gateway."""

import asyncio
from pathlib import Path

import pytest

from service.api.dependencies import GatewayContext
from service.client import AsyncClient, JobFailedError, ServiceError
from service.core.jobs.record import JobEvent, State
from service.core.settings import Settings
from service.page.samples import SAMPLES
from tests.integration.acting_worker import CONTENT, finish
from tests.integration.service_processes import Gateway

SAMPLE = SAMPLES["knees"].path


@pytest.mark.parametrize("upload_above", [2**30, 0])
def test_a_job_from_submission_to_download(
    gateway: Gateway, any_model: str, settings: Settings, tmp_path: Path, upload_above: int
) -> None:
    """Submits through the gateway, and by a direct upload; other coroutines run while it waits."""
    seen: list[JobEvent] = []

    async def use() -> None:
        async with AsyncClient(str(gateway.client.base_url), upload_above=upload_above) as client:
            job = await client.reconstruct(SAMPLE, model=any_model, formats=["glb"], metadata={"take": 3})
            waiting = asyncio.create_task(client.wait(job.id, seen.append))
            while not seen:
                await asyncio.sleep(0.01)
            await asyncio.to_thread(finish, GatewayContext(settings), job.id)
            done = await waiting
            assert (done.state, done.metadata) == (State.SUCCEEDED, {"take": 3})
            glb = await client.download(done, tmp_path / "out.glb")
            assert glb.read_bytes() == CONTENT
            with pytest.raises(ServiceError, match="the job has no ply; available: glb"):
                await client.download(done, tmp_path / "out.ply", "ply")
            assert [file.name for file in tmp_path.iterdir()] == ["out.glb"]
            assert job.id in [one.id async for one in client.jobs("succeeded")]
            assert any_model in [model["name"] for model in await client.models()]
            assert (await client.cancel(job.id)).state is State.EXPIRED

    asyncio.run(use())
    assert [seen[0].state, seen[-1].state] == [State.QUEUED, State.SUCCEEDED]


def test_jobs_at_once_and_one_that_is_canceled(gateway: Gateway, any_model: str) -> None:
    async def use() -> None:
        async with AsyncClient(str(gateway.client.base_url)) as client:
            submissions = [client.reconstruct(SAMPLE, model=any_model) for _ in range(4)]
            jobs = await asyncio.gather(*submissions)
            assert len({job.id for job in jobs}) == 4
            canceled = await asyncio.gather(*(client.cancel(job.id) for job in jobs))
            assert {job.state for job in canceled} == {State.CANCELED}
            with pytest.raises(JobFailedError, match="canceled"):
                await client.wait(jobs[0].id)
            with pytest.raises(ServiceError, match="resolution"):
                await client.reconstruct(SAMPLE, resolution=7)

    asyncio.run(use())
