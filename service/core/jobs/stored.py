"""Job records as text. Stored records are not requests: no limit of a request applies when they are read.

Within one schema version, releases only add fields. What a later release has added is kept when a record is
changed here; a record of a later schema is left alone.
"""

import json
from typing import Any

from pydantic import ValidationError

from service.core.jobs.record import SCHEMA, Job


class UnreadableRecord(Exception):  # noqa: N818  # a state of the data, not of the program
    """A stored record that this version cannot read; what else is unknown of it is ""."""

    def __init__(self, job_id: str, reason: str, owner: str = "", model: str = "", state: str = "") -> None:
        self.job_id, self.reason = job_id, reason
        self.owner, self.model, self.state = owner, model, state
        super().__init__(f"the record of job {job_id} is unreadable: {reason}")


def load(job_id: str, text: str) -> Job:
    """The job of a stored record. Raises UnreadableRecord."""
    try:
        job = Job.model_validate_json(text)
    except ValidationError as error:
        fields = ", ".join(sorted({".".join(map(str, fault["loc"])) for fault in error.errors()}))
        reason = f"its fields {fields} are not valid" if fields else "it is not a JSON object"
    else:
        if job.schema_version <= SCHEMA:
            return job
        reason = ""
    values = _object(text)
    schema = values.get("schema_version", SCHEMA)
    if not isinstance(schema, int) or schema > SCHEMA:
        reason = f"it has schema version {schema}, this release reads up to {SCHEMA}"
    owner, model, state = (str(values.get(name, "")) for name in ("owner", "model", "state"))
    raise UnreadableRecord(job_id, reason, owner, model, state)


def dump(job: Job, before: str | None = None) -> str:
    """The text to store for a job that was read from the text `before`, whose unknown fields are kept.

    Raises ValueError rather than return what could not be read again, such as numbers that are not finite.
    """
    text = _json(job)
    if before is not None and (known := _json(load(job.id, before))) != before:
        values = _with_unknown(_object(before), _object(known), _object(text))
        text = json.dumps(values, separators=(",", ":"), ensure_ascii=False)
    try:
        load(job.id, text)
    except UnreadableRecord as error:
        raise ValueError(str(error)) from error
    return text


def _json(job: Job) -> str:
    return job.model_dump_json(exclude_none=True)


def _object(text: str) -> dict[str, Any]:
    """The values of a record, none if it is not a JSON object."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}


def _with_unknown(stored: Any, known: Any, values: Any) -> Any:
    """`values` with all that is `stored` and not among what is `known` of it."""
    if known == values:
        return stored
    if not (isinstance(stored, dict) and isinstance(known, dict) and isinstance(values, dict)):
        return values
    unknown = {name: value for name, value in stored.items() if name not in known}
    changed = {
        name: _with_unknown(stored[name], known[name], value) if name in known else value
        for name, value in values.items()
    }
    return unknown | changed
