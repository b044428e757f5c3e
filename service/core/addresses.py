"""Where webhooks may go: https, and no address inside anybody's network."""

import ipaddress
import socket
from urllib.parse import urlsplit

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
UNICAST = ipaddress.ip_network("2000::/3")  # all of IPv6 that is given out; the rest has NAT64 and its like


def check_address(url: str) -> str:
    """Return `url` if it has the form that a webhook needs; raises ValueError with what is wrong.

    Names are resolved when the webhook is sent, and checked by `is_public` then.
    """
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        raise ValueError("has characters that an address cannot have")
    parts = urlsplit(url)
    if parts.scheme not in ("https", "http"):
        raise ValueError("wants an address that begins with https://")
    if not parts.hostname:
        raise ValueError("names no host")
    if parts.username is not None or parts.password is not None:
        raise ValueError("carries a user name or password: leave them out, webhooks are signed")
    if parts.port == 0:  # raises ValueError beyond 65535
        raise ValueError("names port 0")
    return url


def is_public(address: IPAddress) -> bool:
    """Whether an address lies in the open internet, whatever it is wrapped in."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is not None:
            return is_public(inner)
        if address.teredo is not None or address not in UNICAST:
            return False
    return address.is_global and not address.is_multicast


def literal(host: str) -> IPAddress | None:
    """The address that a host name is, if it is one and no name; 0177.1, 0x7f000001 and 2130706433 are."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        pass
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host.rstrip(".")))
    except OSError:
        return None
