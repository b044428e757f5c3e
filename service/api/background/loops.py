"""Background loops that survive every error: of an item, which is handled alone, and of a whole round."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from botocore.exceptions import BotoCoreError, ClientError
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError
from starlette.concurrency import run_in_threadpool

from service.api.dependencies import GatewayContext
from service.core.jobs.stored import UnreadableRecord

log = logging.getLogger(__name__)
INTERVAL = 1.0  # seconds between rounds
OUTAGES = (RedisError, OperationalError, BotoCoreError)  # a component does not answer, so no item can succeed


async def repeat(
    name: str, task: Callable[[GatewayContext], Awaitable[None]], context: GatewayContext
) -> None:
    """Run a task every second until canceled; `name` is its label in the metrics."""
    while True:
        try:
            await task(context)
        except (*OUTAGES, ClientError) as error:
            log.warning("%s failed, retrying: %s", name, error)
        except Exception:
            log.exception("unexpected error in %s", name)
            await run_in_threadpool(context.jobs.counters.failed, name)
        await asyncio.sleep(INTERVAL)


def is_due(context: GatewayContext, name: str, seconds: int) -> bool:
    """Whether it is this gateway's turn at a round that all of them together make once in `seconds`."""
    return bool(context.redis.set(f"oflow:{name}", "1", nx=True, ex=seconds))


@contextmanager
def alone(context: GatewayContext, name: str, item: str) -> Iterator[None]:
    """Handle one item of the loop `name`: its errors are reported and do not stop the others.

    An unreadable record goes into quarantine. Outages are raised, so that the round ends at once.
    """
    try:
        yield
    except UnreadableRecord as error:
        context.jobs.quarantined.add(error)
    except OUTAGES:
        raise
    except Exception:
        log.exception("unexpected error in %s at %s", name, item)
        context.jobs.counters.failed(name)
