"""Validation of webhook URLs: https only, and no private or reserved addresses."""

import ipaddress
import re
import socket
from urllib.parse import urlsplit

LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII | re.IGNORECASE)
IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
# Reachable from inside some clouds only, though registered as global: IETF protocol assignments, of which
# Oracle's metadata service is one, and Azure's host.
INSIDE = (ipaddress.ip_network("192.0.0.0/24"), ipaddress.ip_network("168.63.129.16/32"))
UNICAST = ipaddress.ip_network("2000::/3")  # IPv6 global unicast; excludes NAT64 and other special prefixes


def check_address(url: str) -> str:
    """Return `url` if it is a valid webhook URL; otherwise raises ValueError saying why not.

    The host name is resolved and checked with `is_public` at delivery.
    """
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        raise ValueError("contains characters that are not allowed in a URL")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError("has an invalid host or port") from None
    if parts.scheme not in ("https", "http"):
        raise ValueError("must start with https://")
    if not parts.hostname:
        raise ValueError("has no host")
    if not _is_host(parts.hostname) or ("[" in parts.netloc and ":" not in parts.hostname):
        raise ValueError("has an invalid host")
    if parts.username is not None or parts.password is not None:
        raise ValueError("contains a user name or password: remove them")
    if port == 0:
        raise ValueError("has port 0")
    return url


def _is_host(host: str) -> bool:
    """Whether a host, as `urlsplit` returns it, is an IP address or could be the name of one (RFC 1123)."""
    if ":" in host:
        return _is_ip_address(host)
    name = host.removesuffix(".")
    *_, last = labels = name.split(".")
    if re.fullmatch(r"0x[0-9a-f]*|\d+", last, re.IGNORECASE):  # no name ends with a number
        return literal(host) is not None
    return len(name) <= 253 and all(map(_is_label, labels))


def _is_ip_address(text: str) -> bool:
    try:
        return ipaddress.ip_address(text) is not None and "%" not in text
    except ValueError:
        return False


def _is_label(label: str) -> bool:
    if not LABEL.fullmatch(label):
        return False
    try:
        label.encode().decode("idna")
    except UnicodeError:  # xn-- and what is no Punycode
        return False
    return not label.lower().startswith("xn--") or len(label) > 4


def is_public(address: IPAddress) -> bool:
    """Whether an address is globally routable, including IPv4 addresses embedded in IPv6."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is not None:
            return is_public(inner)
        if address.teredo is not None or address not in UNICAST:
            return False
    elif any(address in network for network in INSIDE):
        return False
    return address.is_global and not address.is_multicast


def literal(host: str) -> IPAddress | None:
    """The address if `host` is an IP literal, including forms such as 0177.1, 0x7f000001 and 2130706433."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        pass
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host.rstrip(".")))
    except OSError:
        return None
