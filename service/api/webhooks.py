"""Webhook delivery: signed according to Standard Webhooks, sent to public addresses only."""

import asyncio
import base64
import hashlib
import hmac
import logging
import time
from datetime import UTC, datetime
from urllib.parse import urlsplit

import httpx
from pydantic import BaseModel

from service.api.http.outbound import RefusedAddress, checked_request, reason
from service.core.jobs.record import OPEN_OWNER, Job
from service.core.jobs.views import JobView, view
from service.core.settings import Settings

log = logging.getLogger(__name__)
TIMEOUT_SECONDS = 15  # per attempt, from name resolution to response headers


class WebhookEvent(BaseModel):
    """Webhook payload. `type` is `job.succeeded`, `job.failed` or `job.canceled`."""

    type: str
    timestamp: datetime
    data: JobView


def signing_secret(settings: Settings, owner: str) -> bytes:
    """The signing secret for an owner's webhooks, derived from OFLOW_WEBHOOK_SECRET."""
    assert settings.webhook_secret is not None  # noqa: S101
    master = settings.webhook_secret.get_secret_value().encode()
    return hmac.digest(master, f"webhooks of {owner}".encode(), "sha256")


def secret_text(settings: Settings, owner: str = OPEN_OWNER) -> str:
    """The signing secret in the `whsec_…` format of Standard Webhooks libraries."""
    return "whsec_" + base64.b64encode(signing_secret(settings, owner)).decode()


def host_of(url: str) -> str:
    """The host of a URL, without IPv6 brackets."""
    return urlsplit(url).hostname or ""


def sign(secret: bytes, message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """Standard Webhooks headers; the signature covers id, timestamp and body."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    signature = base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{signature}",
    }


async def deliver(settings: Settings, job: Job) -> str | None:
    """Make one delivery attempt. Returns why it failed; None if the receiver answered 2xx."""
    url = job.webhook_url
    assert url is not None  # noqa: S101
    event = WebhookEvent(
        type=f"job.{job.state}",
        timestamp=job.ended_at or datetime.now(UTC),
        data=view(job, settings.public_url),
    )
    body = event.model_dump_json(exclude_none=True).encode()
    secret = signing_secret(settings, job.owner)
    headers = sign(secret, f"msg_{job.id}", int(time.time()), body) | {"Content-Type": "application/json"}
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            status = await _post(url, headers, body, loopback=settings.webhook_loopback)
    except TimeoutError:
        failure = f"no response within {TIMEOUT_SECONDS} s"
    except (OSError, httpx.HTTPError, httpx.InvalidURL, RefusedAddress, UnicodeError) as error:
        failure = reason(error, TIMEOUT_SECONDS)
    else:
        failure = "" if 200 <= status < 300 else f"the receiver answered {status}"
    log.info("webhook of job %s to %s: %s", job.id, host_of(url), failure or "delivered")
    return failure or None


async def _post(url: str, headers: dict[str, str], body: bytes, *, loopback: bool) -> int:
    request = await checked_request(
        "POST",
        url,
        loopback=loopback,
        timeout=TIMEOUT_SECONDS,
        headers={"User-Agent": "oflow-webhooks"} | headers,
        content=body,
    )
    async with httpx.AsyncClient(trust_env=False, follow_redirects=False) as client:
        response = await client.send(request, stream=True)  # do not read a body that may be endless
        await response.aclose()
    return response.status_code
