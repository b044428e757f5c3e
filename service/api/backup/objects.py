"""Files of the object store in a folder: those that are new are fetched, those that are gone are deleted."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from service.core.object_store import EXPIRES, ObjectStore

THREADS = 8
INDEX = "objects.jsonl"  # key, ETag, media type and end of life of each file
Progress = Callable[[int, int], None]  # done, all


def fetch_objects(store: ObjectStore, folder: Path, progress: Progress) -> int:
    """Make `folder` hold the files of the bucket; returns the number of those that were fetched."""
    known = _index(folder)
    listed = {entry["Key"]: entry for entry in _listed(store)}
    wanted = [
        key
        for key, entry in listed.items()
        if known.get(key, {}).get("etag") != entry["ETag"] or not path_of(folder, key).is_file()
    ]
    found = {key: entry for key, entry in known.items() if key in listed and key not in wanted}

    def fetch(key: str) -> None:
        path = path_of(folder, key)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(path.name + ".part")
        try:
            answer = store.client.get_object(Bucket=store.bucket, Key=key)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:  # it has expired meanwhile
                return
            raise
        with partial.open("wb") as file:
            for chunk in answer["Body"].iter_chunks(2**20):
                file.write(chunk)
        partial.rename(path)
        found[key] = {
            "key": key,
            "etag": answer["ETag"],
            "type": answer["ContentType"],
            "expires": answer["Metadata"].get(EXPIRES, ""),
        }

    _each(fetch, wanted, progress)
    for key in known.keys() - found.keys():
        path_of(folder, key).unlink(missing_ok=True)
    index = folder / f"{INDEX}.part"
    index.write_text("".join(json.dumps(entry) + "\n" for entry in found.values()))
    index.rename(folder / INDEX)
    return len(wanted)


def send_objects(store: ObjectStore, folder: Path, progress: Progress) -> int:
    """Put the files of `folder` into the bucket; returns their number."""
    entries = _index(folder)

    def send(key: str) -> None:
        expires = entries[key]["expires"]
        with path_of(folder, key).open("rb") as file:
            store.put(key, file, entries[key]["type"], datetime.fromisoformat(expires) if expires else None)

    _each(send, list(entries), progress)
    return len(entries)


def _each(work: Callable[[str], None], keys: list[str], progress: Progress) -> None:
    with ThreadPoolExecutor(THREADS) as pool:
        for done, _ in enumerate(pool.map(work, keys), 1):
            progress(done, len(keys))


def _listed(store: ObjectStore) -> Iterator[Any]:
    for page in store.client.get_paginator("list_objects_v2").paginate(Bucket=store.bucket):
        yield from page.get("Contents", [])


def _index(folder: Path) -> dict[str, dict[str, str]]:
    path = folder / INDEX
    lines = path.read_text().splitlines() if path.exists() else []
    return {entry["key"]: entry for entry in map(json.loads, lines)}


def path_of(folder: Path, key: str) -> Path:
    """Where a backup keeps the file; ValueError for a key that leaves the folder."""
    path = (folder / "objects" / key).resolve()
    if not path.is_relative_to((folder / "objects").resolve()):
        raise ValueError(f"the bucket holds {key!r}, which is no file of this service")
    return path
