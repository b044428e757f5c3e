"""Records of finished jobs that Redis has lost, from the copies that workers keep beside the files."""

import io
import logging
import re
from datetime import UTC, datetime

from service.api.dependencies import GatewayContext
from service.core.jobs.record import COPY, State
from service.core.jobs.stored import UnreadableRecord, load

log = logging.getLogger(__name__)


def restore_record(context: GatewayContext, job_id: str) -> bool:
    """Record a job again that has succeeded and not expired; returns whether it could be."""
    folder = f"jobs/{job_id}/"
    names = [name for page in context.store.pages(folder) for name in page]
    attempts = sorted((int(name[8:]) for name in names if re.fullmatch(r"attempt-\d+", name)), reverse=True)
    for attempt in attempts:
        key = f"{folder}attempt-{attempt}/{COPY}"
        if context.store.size(key) is None:
            continue
        file = io.BytesIO()
        context.store.get(key, file)
        try:
            job = load(job_id, file.getvalue().decode(errors="replace"))
        except UnreadableRecord as error:
            log.warning("%s, in %s", error, key)
            continue
        if job.id == job_id and job.state is State.SUCCEEDED and job.expires_at > datetime.now(UTC):
            context.jobs.restore(job)
            message = "restored the record of job %s of owner %s"
            log.warning(message, job_id, job.owner, extra={"job_id": job_id})
            return True
    return False
