"""Direct uploads to the object store: a presigned form, and the upload id to submit afterwards."""

import secrets
import time
from datetime import UTC, datetime, timedelta

from pydantic import BaseModel
from redis import Redis

from service.core.object_store import ObjectStore


class TooManyUploads(Exception):  # noqa: N818  # an expected refusal
    """The owner has reached the limit of pending uploads."""


class Upload(BaseModel):
    id: str
    owner: str
    expires_at: datetime

    @property
    def key(self) -> str:
        return f"uploads/{self.id}"


class PresignedForm(BaseModel):
    """URL to post the file to, and the form fields to send before it."""

    url: str
    fields: dict[str, str]


class UploadStore:
    """Pending uploads; their files are deleted when they expire."""

    def __init__(self, redis: Redis, store: ObjectStore, prefix: str = "oflow") -> None:
        self.redis = redis
        self.store = store
        self.prefix = prefix
        self.expiry = f"{prefix}:upload-expiry"  # upload id → time at which its file is deleted

    def record_key(self, upload_id: str) -> str:
        return f"{self.prefix}:upload:{upload_id}"

    def create(
        self, owner: str, seconds: int, max_bytes: int, max_open: int | None = None
    ) -> tuple[Upload, PresignedForm]:
        """Create an upload for one file of 1 to `max_bytes` bytes, valid for `seconds`.

        Raises TooManyUploads if the owner already has `max_open` pending uploads.
        """
        expires_at = datetime.now(UTC) + timedelta(seconds=seconds)
        upload = Upload(id=secrets.token_hex(16), owner=owner, expires_at=expires_at)
        if max_open is not None:
            self._count_open(upload, seconds, max_open)
        form = self.store.presign_post(upload.key, max_bytes, seconds)
        with self.redis.pipeline() as pipe:
            pipe.set(self.record_key(upload.id), upload.model_dump_json(), ex=seconds)
            # The form can be posted until it expires, so delete its file a little later.
            pipe.zadd(self.expiry, {upload.id: expires_at.timestamp() + 60})
            pipe.execute()
        return upload, PresignedForm(**form)

    def _count_open(self, upload: Upload, seconds: int, limit: int) -> None:
        """Add the upload to its owner's pending uploads. Safe against concurrent requests."""
        key = f"{self.prefix}:uploads:{upload.owner}"
        with self.redis.pipeline() as pipe:
            pipe.zremrangebyscore(key, "-inf", time.time())
            pipe.zadd(key, {upload.id: upload.expires_at.timestamp()})
            pipe.zcard(key)
            pipe.expire(key, seconds)
            _, _, count, _ = pipe.execute()
        if count > limit:
            self.redis.zrem(key, upload.id)
            raise TooManyUploads

    def get(self, upload_id: str, owner: str) -> Upload | None:
        text = self.redis.get(self.record_key(upload_id))
        upload = None if text is None else Upload.model_validate_json(text)
        return upload if upload and upload.owner == owner else None

    def delete(self, upload_id: str) -> None:
        """Delete an expired upload and its file."""
        self.store.delete(f"uploads/{upload_id}")
        self.redis.zrem(self.expiry, upload_id)
