"""Free loopback ports."""

import random
import socket
from contextlib import ExitStack

from service.local.errors import LocalStackError

LOOPBACK = "127.0.0.1"
# Below the ports that Linux (32768+) and macOS (49152+) hand out by themselves: between our look and the
# server's bind no outgoing connection and no `bind(0)` of another program can land on a port chosen here.
LOWEST, HIGHEST = 12_000, 32_000


def is_free(port: int) -> bool:
    """Whether a server could listen on this loopback port now (lingering closed connections aside)."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def free_ports(count: int, *, partner: int = 0) -> list[int]:
    """`count` free loopback ports, drawn at random; with `partner`, each `port + partner` is free as well.

    All ports and partners are distinct: they are held at once while they are looked for.
    """
    candidates = range(LOWEST, HIGHEST - partner)
    ports: list[int] = []
    with ExitStack() as held:
        for port in random.SystemRandom().sample(candidates, k=len(candidates)):
            if len(ports) == count:
                break
            try:
                for wanted in {port, port + partner}:
                    held.enter_context(socket.socket()).bind((LOOPBACK, wanted))
            except OSError:
                continue
            ports.append(port)
    if len(ports) < count:
        raise LocalStackError(
            f"{count} free loopback ports wanted, only {len(ports)} found from {LOWEST} to {HIGHEST}"
        )
    return ports
