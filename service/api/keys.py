"""API keys (bearer tokens), managed with `oflow keys`. Only their hashes are stored."""

import hashlib
import hmac
import logging
import re
import secrets
from datetime import UTC, datetime

from pydantic import BaseModel, ValidationError
from redis import Redis

log = logging.getLogger(__name__)
FORM = re.compile(r"oflow_([0-9a-f]{12})_[0-9a-f]{64}", re.ASCII)


class Key(BaseModel):
    """A stored API key. Limits that are None fall back to the settings."""

    id: str
    name: str
    sha256: str
    created_at: datetime
    revoked_at: datetime | None = None
    rate_limit: int | None = None  # requests per minute
    open_jobs: int | None = None


class KeyStore:
    """API keys by id, in one Redis hash."""

    def __init__(self, redis: Redis, prefix: str = "oflow") -> None:
        self.redis = redis
        self.key = f"{prefix}:keys"

    def create(
        self, name: str, rate_limit: int | None = None, open_jobs: int | None = None
    ) -> tuple[Key, str]:
        """Create a key and return it with its text, which cannot be recovered later."""
        key_id = secrets.token_hex(6)
        # 256 random bits are out of reach of a dictionary attack, so a fast hash is as safe as a slow one.
        text = f"oflow_{key_id}_{secrets.token_hex(32)}"
        key = Key(
            id=key_id,
            name=name,
            sha256=_hash(text),
            created_at=datetime.now(UTC),
            rate_limit=rate_limit,
            open_jobs=open_jobs,
        )
        self.redis.hset(self.key, key_id, key.model_dump_json(exclude_none=True))
        return key, text

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
            self.redis.hset(self.key, key_id, key.model_dump_json(exclude_none=True))
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
        return key if key.revoked_at is None else None

    def _get(self, key_id: str) -> Key | None:
        text = self.redis.hget(self.key, key_id)
        return None if text is None else Key.model_validate_json(text)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
