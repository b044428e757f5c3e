"""Uploads past the gateway: a form that the object store takes, and the id to hand in afterwards."""

import secrets
import time
from datetime import UTC, datetime, timedelta

from pydantic import BaseModel
from redis import Redis

from service.core.object_store import ObjectStore


class TooManyUploads(Exception):  # noqa: N818  # a refusal, not a fault
    """The owner has as many uploads as may be open at once."""


class Upload(BaseModel):
    id: str
    owner: str
    expires_at: datetime

    @property
    def key(self) -> str:
        return f"uploads/{self.id}"


class PresignedForm(BaseModel):
    """Where to post the file, and the fields to send before it."""

    url: str
    fields: dict[str, str]


class UploadStore:
    """Uploads that may still be made or used; their files go when they expire."""

    def __init__(self, redis: Redis, store: ObjectStore, prefix: str = "oflow") -> None:
        self.redis = redis
        self.store = store
        self.prefix = prefix
        self.expiry = f"{prefix}:upload-expiry"  # upload id → when its file goes

    def _key(self, upload_id: str) -> str:
        return f"{self.prefix}:upload:{upload_id}"

    def create(
        self, owner: str, seconds: int, most_bytes: int, most_open: int | None = None
    ) -> tuple[Upload, PresignedForm]:
        """An upload of one file of 1 to `most_bytes` bytes within `seconds`. Raises TooManyUploads."""
        expires_at = datetime.now(UTC) + timedelta(seconds=seconds)
        upload = Upload(id=secrets.token_hex(16), owner=owner, expires_at=expires_at)
        if most_open is not None:
            self._take_place(upload, seconds, most_open)
        form = self.store.presign_post(upload.key, most_bytes, seconds)
        with self.redis.pipeline() as pipe:
            pipe.set(self._key(upload.id), upload.model_dump_json(), ex=seconds)
            # The form can be posted until the end, and the file that comes with it has to go as well.
            pipe.zadd(self.expiry, {upload.id: expires_at.timestamp() + 60})
            pipe.execute()
        return upload, PresignedForm(**form)

    def _take_place(self, upload: Upload, seconds: int, most: int) -> None:
        """Count the upload among its owner's until it expires; others may do so at the same time."""
        key = f"{self.prefix}:uploads:{upload.owner}"
        with self.redis.pipeline() as pipe:
            pipe.zremrangebyscore(key, "-inf", time.time())
            pipe.zadd(key, {upload.id: upload.expires_at.timestamp()})
            pipe.zcard(key)
            pipe.expire(key, seconds)
            _, _, found, _ = pipe.execute()
        if found > most:
            self.redis.zrem(key, upload.id)
            raise TooManyUploads

    def get(self, upload_id: str, owner: str) -> Upload | None:
        text = self.redis.get(self._key(upload_id))
        upload = None if text is None else Upload.model_validate_json(text)
        return upload if upload and upload.owner == owner else None

    def delete(self, upload_id: str) -> None:
        """Delete an expired upload's file, and forget it."""
        self.store.delete(f"uploads/{upload_id}")
        self.redis.zrem(self.expiry, upload_id)
