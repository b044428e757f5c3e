"""Requests to addresses that callers name: public hosts only, connected to as they were checked."""

import asyncio
import re
import socket
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address

import httpx

from service.core.addresses import is_public

# A lookup cannot be stopped: where a name server is silent, its thread waits on when the caller has given up.
# The event loop's own threads are few, and one caller's names would keep all others from being looked up.
_lookups = ThreadPoolExecutor(max_workers=200, thread_name_prefix="lookup")


class RefusedAddress(Exception):  # noqa: N818  # caused by the caller's URL
    """The URL is not https, or its host resolves to a non-public address."""


async def checked_request(
    method: str,
    url: str,
    *,
    loopback: bool,
    timeout: float,
    headers: dict[str, str],
    content: bytes | None = None,
) -> httpx.Request:
    """A request to the address that was checked, since resolving the name again could return another.

    With `loopback`, plain http to this machine is allowed. Raises RefusedAddress and OSError.
    """
    target = httpx.URL(url)
    port = target.port or (443 if target.scheme == "https" else 80)
    address = await _resolve(target.host, port, loopback=loopback)
    if target.scheme != "https" and not (loopback and ip_address(address).is_loopback):
        raise RefusedAddress("the URL is not https")
    return httpx.Request(
        method,
        target.copy_with(host=address),
        headers={"Host": target.netloc.decode("ascii")} | headers,
        content=content,
        extensions={
            "sni_hostname": target.raw_host.decode("ascii"),  # name to verify the certificate against
            "timeout": httpx.Timeout(timeout).as_dict(),
        },
    )


async def _resolve(host: str, port: int, *, loopback: bool) -> str:
    """Resolve the host to an address. Raises RefusedAddress if any of its addresses is not public."""
    addresses = await asyncio.get_running_loop().run_in_executor(_lookups, look_up, host, port)
    for text in addresses:
        address = ip_address(text)
        if not is_public(address) and not (loopback and address.is_loopback):
            raise RefusedAddress("the host resolves to a non-public address")
    return addresses[0]


def look_up(host: str, port: int) -> list[str]:
    """The addresses of a host. Raises OSError."""
    return [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def reason(error: Exception, seconds: int) -> str:
    """Why a request failed that may be silent for so many seconds, for the caller who named its address."""
    text = str(error)
    if isinstance(error, socket.gaierror):
        return "its host name could not be resolved"
    if isinstance(error, httpx.TimeoutException):
        return f"the server was silent for {seconds} s"
    if isinstance(error, httpx.ConnectError):
        if fault := re.search(r"certificate verify failed: ([^(]+)", text):
            return f"the certificate of its host is not valid: {fault[1].strip()}"
        return (
            "its host does not answer by TLS" if "SSL" in text else "no connection to its host could be made"
        )
    if isinstance(error, httpx.ProtocolError | httpx.NetworkError):
        return "the response broke off, or is not valid HTTP"
    if isinstance(error, ValueError) and not isinstance(error, UnicodeError):  # of a redirect
        return f"an address on the way {error}"
    return text[:200] or type(error).__name__
