"""Direct uploads to the object store: a presigned request, and the upload id to submit afterwards."""

import secrets
import time
from datetime import UTC, datetime, timedelta
from typing import Literal

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


class PresignedRequest(BaseModel):
    """How to send the file: in a form after these fields, or as the body with these headers."""

    url: str
    method: Literal["POST", "PUT"] = "POST"
    fields: dict[str, str] = {}
    headers: dict[str, str] = {}


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
        self,
        owner: str,
        seconds: int,
        max_bytes: int,
        max_open: int | None = None,
        *,
        put_bytes: int | None = None,
    ) -> tuple[Upload, PresignedRequest]:
        """Create an upload for one file of 1 to `max_bytes` bytes, valid for `seconds`.

        With `put_bytes` the file is sent by PUT and has exactly this size, as PUT has no range of sizes.
        Raises TooManyUploads if the owner already has `max_open` pending uploads.
        """
        expires_at = datetime.now(UTC) + timedelta(seconds=seconds)
        upload = Upload(id=secrets.token_hex(16), owner=owner, expires_at=expires_at)
        if max_open is not None:
            self._count_open(upload, seconds, max_open)
        if put_bytes is None:
            request = PresignedRequest(**self.store.presign_post(upload.key, max_bytes, seconds))
        else:
            url = self.store.presign_put(upload.key, put_bytes, seconds)
            request = PresignedRequest(url=url, method="PUT", headers={"Content-Length": str(put_bytes)})
        with self.redis.pipeline() as pipe:
            pipe.set(self.record_key(upload.id), upload.model_dump_json(), ex=seconds)
            # The request can be sent until it expires, so delete its file a little later.
            pipe.zadd(self.expiry, {upload.id: expires_at.timestamp() + 60})
            pipe.execute()
        return upload, request

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
