"""Slow webhook receivers of one owner do not delay the webhooks of others."""

import asyncio
import threading
import time

import pytest

from service.api.background import webhook_delivery
from service.api.background.webhook_delivery import MAX_CONCURRENT_PER_OWNER, WebhookDelivery
from service.api.dependencies import GatewayContext
from service.api.http import outbound
from service.core.jobs.options import Options
from service.core.jobs.record import Input, Job
from service.core.jobs.webhooks import Webhooks
from service.core.settings import Settings


def test_slow_receivers_do_not_block_other_owners(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = GatewayContext(
        settings.model_copy(update={"webhook_secret": type(settings.redis_url)("x" * 32)})
    )
    source = Input(frames=2, points=32, bytes=3, sha256="0" * 64)
    options = Options(webhook_url="https://slow.example/")
    jobs = [Job.new("any", options, source, 600, owner="slow") for _ in range(3 * MAX_CONCURRENT_PER_OWNER)]
    last = Job.new("any", options, source, 600, owner="patient")
    for job in (*jobs, last):
        context.jobs.create(job)
        context.jobs.cancel(job.id)
    running = peak = 0
    delivered = asyncio.Event()

    async def deliver(_: Settings, job: Job) -> str | None:
        nonlocal running, peak
        if job.owner != "slow":
            delivered.set()
            return None
        running += 1
        peak = max(peak, running)
        await asyncio.sleep(30)
        return "no answer"

    monkeypatch.setattr(webhook_delivery, "deliver", deliver)

    async def send() -> None:
        delivery, end = WebhookDelivery(), time.monotonic() + 20
        while not (delivered.is_set() and peak == MAX_CONCURRENT_PER_OWNER):
            assert time.monotonic() < end
            await delivery.send_due(context)
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.5)  # nothing more is sent
        for task in delivery._running:
            task.cancel()

    try:
        asyncio.run(send())
        assert peak == MAX_CONCURRENT_PER_OWNER
    finally:
        context.redis.zrem(context.jobs.webhooks.schedule, *(job.id for job in (*jobs, last)))


def test_silent_name_servers_do_not_keep_other_names_from_being_looked_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The lookups of ten deliveries go on for a while after these have been given up, and so do the next."""
    answered = threading.Event()

    def look_up(host: str, _port: int) -> list[str]:
        if host == "silent.example":
            answered.wait(30)
        return ["93.184.216.34"]

    monkeypatch.setattr(outbound, "look_up", look_up)

    async def resolve() -> str:
        silent = [
            asyncio.create_task(outbound._resolve("silent.example", 443, loopback=False))
            for _ in range(3 * MAX_CONCURRENT_PER_OWNER)
        ]
        await asyncio.sleep(0.1)
        try:
            async with asyncio.timeout(5):
                return await outbound._resolve("other.example", 443, loopback=False)
        finally:
            answered.set()
            await asyncio.gather(*silent)

    assert asyncio.run(resolve()) == "93.184.216.34"


def test_a_flood_of_one_owner_does_not_hide_others(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = GatewayContext(
        settings.model_copy(update={"webhook_secret": type(settings.redis_url)("x" * 32)})
    )
    webhooks = context.jobs.webhooks = Webhooks(context.redis, "flooded")  # which no gateway looks at
    with context.redis.pipeline() as pipe:
        for number in range(3000):
            pipe.zadd(webhooks.schedule, {f"flood{number}": number})
            pipe.hset(webhooks.key(f"flood{number}"), mapping={"owner": "flooding"})
        pipe.zadd(webhooks.schedule, {"last": time.time() - 1})
        pipe.hset(webhooks.key("last"), mapping={"owner": "patient"})
        pipe.execute()
    try:
        claimed = WebhookDelivery()._claim(context, 50)
        assert len(claimed) == MAX_CONCURRENT_PER_OWNER + 1
        assert "last" in claimed[:2]
        left = context.redis.zcount(webhooks.schedule, "-inf", time.time())
        assert left == 3001 - len(claimed), "the others stay due"
    finally:
        context.redis.delete(webhooks.schedule, *context.redis.keys(webhooks.key("*")))
