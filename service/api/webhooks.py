"""Telling a caller's server how a job ended: signed as Standard Webhooks, sent to public addresses only."""

import asyncio
import base64
import hashlib
import hmac
import logging
import socket
import time
from datetime import UTC, datetime
from ipaddress import ip_address
from urllib.parse import urlsplit

import httpx
from pydantic import BaseModel

from service.core.addresses import is_public
from service.core.jobs.record import OPEN_OWNER, Job
from service.core.jobs.views import JobView, view
from service.core.settings import Settings

log = logging.getLogger(__name__)
SECONDS = 15  # for one attempt, from the look-up of the name to the answer


class WebhookEvent(BaseModel):
    """What is posted: `type` is `job.succeeded`, `job.failed` or `job.canceled`."""

    type: str
    timestamp: datetime
    data: JobView


class RefusedAddress(Exception):  # noqa: N818  # not an error of ours
    """A webhook's host has an address that lies inside somebody's network."""


def signing_secret(settings: Settings, owner: str) -> bytes:
    """What the webhooks of a key's jobs are signed with. Every key has a secret of its own."""
    assert settings.webhook_secret is not None  # noqa: S101
    master = settings.webhook_secret.get_secret_value().encode()
    return hmac.digest(master, f"webhooks of {owner}".encode(), "sha256")


def secret_text(settings: Settings, owner: str = OPEN_OWNER) -> str:
    """The secret in the form that Standard Webhooks libraries take."""
    return "whsec_" + base64.b64encode(signing_secret(settings, owner)).decode()


def host_of(url: str) -> str:
    """The host that an address names, without the brackets of IPv6."""
    return urlsplit(url).hostname or ""


def sign(secret: bytes, message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The headers of Standard Webhooks, which cover id, time and body."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    signature = base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{signature}",
    }


async def deliver(settings: Settings, job: Job) -> bool:
    """One attempt. True: the server took it (2xx)."""
    url = job.options.webhook_url
    assert url is not None  # noqa: S101
    event = WebhookEvent(type=f"job.{job.state}", timestamp=job.ended_at or datetime.now(UTC), data=view(job))
    body = event.model_dump_json(exclude_none=True).encode()
    secret = signing_secret(settings, job.owner)
    headers = sign(secret, f"msg_{job.id}", int(time.time()), body) | {"Content-Type": "application/json"}
    try:
        async with asyncio.timeout(SECONDS):
            status = await _post(url, headers, body, loopback=settings.webhook_loopback)
    except (OSError, httpx.HTTPError, TimeoutError, RefusedAddress, UnicodeError) as error:
        log.info("webhook of job %s to %s: %s", job.id, host_of(url), str(error) or type(error).__name__)
        return False
    log.info("webhook of job %s to %s: answered %d", job.id, host_of(url), status)
    return 200 <= status < 300


async def _post(url: str, headers: dict[str, str], body: bytes, *, loopback: bool) -> int:
    """Post to the very address that was checked: a second look-up of the name could give another."""
    target = httpx.URL(url)
    port = target.port or (443 if target.scheme == "https" else 80)
    address = await _resolve(target.host, port, loopback=loopback)
    if target.scheme != "https" and not (loopback and ip_address(address).is_loopback):
        raise RefusedAddress("the address is not https")
    request = httpx.Request(
        "POST",
        target.copy_with(host=address),
        headers={"Host": target.netloc.decode("ascii"), "User-Agent": "oflow-webhooks"} | headers,
        content=body,
        extensions={
            "sni_hostname": target.raw_host.decode("ascii"),  # whom the certificate is to name
            "timeout": httpx.Timeout(SECONDS).as_dict(),
        },
    )
    async with httpx.AsyncClient(trust_env=False, follow_redirects=False) as client:
        answer = await client.send(request, stream=True)  # the status is enough: the body may have no end
        await answer.aclose()
    return answer.status_code


async def _resolve(host: str, port: int, *, loopback: bool) -> str:
    """An address of the host. Raises RefusedAddress if any of its addresses is not public."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [str(info[4][0]) for info in found]
    for text in addresses:
        address = ip_address(text)
        if not is_public(address) and not (loopback and address.is_loopback):
            raise RefusedAddress("the host has an address that is not public")
    return addresses[0]
