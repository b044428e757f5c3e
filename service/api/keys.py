"""API keys (bearer tokens), managed with `oflow keys`. Only their hashes are stored."""

import getpass
import hashlib
import hmac
import logging
import re
import secrets
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from pydantic import BaseModel, ValidationError
from redis import Redis

from service.core.scope import Scope

log = logging.getLogger(__name__)
FORM = re.compile(r"oflow_([0-9a-f]{12})_[0-9a-f]{64}", re.ASCII)
AUDIT_LENGTH = 10_000  # the latest entries of the audit log that are kept


class Key(BaseModel):
    """A stored API key. Limits that are None fall back to the settings."""

    id: str
    name: str
    sha256: str
    created_at: datetime
    revoked_at: datetime | None = None
    expires_at: datetime | None = None
    scope: Scope = Scope.SUBMIT
    rate_limit: int | None = None  # requests per minute
    open_jobs: int | None = None
    owner_id: str | None = None  # of the first key in a chain of rotations; None for that key itself

    @property
    def owner(self) -> str:
        """Who the jobs belong to."""
        return self.owner_id or self.id

    @property
    def is_active(self) -> bool:
        expired = self.expires_at is not None and self.expires_at <= datetime.now(UTC)
        return self.revoked_at is None and not expired


class KeyStore:
    """API keys by id in one Redis hash, and a log of what was done to them."""

    def __init__(self, redis: Redis, prefix: str = "oflow") -> None:
        self.redis = redis
        self.key = f"{prefix}:keys"
        self.audit = f"{prefix}:audit"

    def create(
        self,
        name: str,
        rate_limit: int | None = None,
        open_jobs: int | None = None,
        *,
        scope: Scope = Scope.SUBMIT,
        lifetime: timedelta | None = None,
        owner_id: str | None = None,
    ) -> tuple[Key, str]:
        """Create a key and return it with its text, which cannot be recovered later."""
        key_id, now = secrets.token_hex(6), datetime.now(UTC)
        # 256 random bits are out of reach of a dictionary attack, so a fast hash is as safe as a slow one.
        text = f"oflow_{key_id}_{secrets.token_hex(32)}"
        key = Key(
            id=key_id,
            name=name,
            sha256=_hash(text),
            created_at=now,
            expires_at=now + lifetime if lifetime else None,
            scope=scope,
            rate_limit=rate_limit,
            open_jobs=open_jobs,
            owner_id=owner_id,
        )
        self._save(key, "create")
        return key, text

    def rotate(self, key_id: str, overlap: timedelta) -> tuple[Key, str] | None:
        """A new key for the same owner, with the same limits; the old one expires after `overlap`.

        None if there is no active key with this id.
        """
        old = self._get(key_id)
        if old is None or not old.is_active:
            return None
        lifetime = old.expires_at - old.created_at if old.expires_at else None
        limits = (old.rate_limit, old.open_jobs)
        made = self.create(old.name, *limits, scope=old.scope, lifetime=lifetime, owner_id=old.owner)
        end = datetime.now(UTC) + overlap
        self._save(old.model_copy(update={"expires_at": min(end, old.expires_at or end)}), "rotate")
        return made

    def all(self) -> list[Key]:
        """All keys including revoked ones, oldest first; one that cannot be read is logged and left out."""
        keys = []
        for key_id, text in self.redis.hgetall(self.key).items():
            try:
                keys.append(Key.model_validate_json(text))
            except ValidationError:
                log.error("the record of key %s is unreadable: revoke it and create another", key_id)
        return sorted(keys, key=lambda key: key.created_at)

    def revoke(self, key_id: str) -> Key | None:
        """Revoke a key with immediate effect. Returns None if the key does not exist, or no longer does."""
        try:
            key = self._get(key_id)
        except ValidationError:  # nobody can use it
            self.redis.hdel(self.key, key_id)
            return None
        if key is not None and key.revoked_at is None:
            key = key.model_copy(update={"revoked_at": datetime.now(UTC)})
            self._save(key, "revoke")
        return key

    def find(self, text: str) -> Key | None:
        """The active key with this text, or None."""
        match = FORM.fullmatch(text)
        try:
            key = self._get(match[1]) if match else None
        except ValidationError:
            return None
        if key is None or not hmac.compare_digest(key.sha256, _hash(text)):
            return None
        return key if key.is_active else None

    def is_active(self, key_id: str) -> bool:
        """Whether requests with this key are still answered."""
        try:
            key = self._get(key_id)
        except ValidationError:
            return False
        return key is not None and key.is_active

    def history(self) -> Iterator[dict[str, str]]:
        """What was done to keys, oldest first: `at`, `action`, `key`, `name`, `scope`, and `by` whom."""
        for _, entry in cast(list[tuple[str, dict[str, str]]], self.redis.xrange(self.audit)):
            yield entry

    def _save(self, key: Key, action: str) -> None:
        entry: dict[Any, Any] = {
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "action": action,
            "key": key.id,
            "name": key.name,
            "scope": key.scope.value,
            "by": _operator(),
        }
        with self.redis.pipeline() as pipe:
            pipe.hset(self.key, key.id, key.model_dump_json(exclude_none=True))
            pipe.xadd(self.audit, entry, maxlen=AUDIT_LENGTH, approximate=True)
            pipe.execute()

    def _get(self, key_id: str) -> Key | None:
        text = self.redis.hget(self.key, key_id)
        return None if text is None else Key.model_validate_json(text)


def _operator() -> str:
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a user id without a name, as in a container
        user = "unknown"
    return f"{user}@{socket.gethostname()}"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
