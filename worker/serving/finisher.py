"""The last steps of a job: write its files, store them, and record the result."""

import hashlib
import io
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model import MeshSequence
from service.core.jobs.options import ReconstructionOptions
from service.core.jobs.record import COPY, Job
from service.core.jobs.results import Decisions, Fit, Mesh, Result, ResultFile, Thumbnail
from service.core.jobs.stored import dump
from service.core.trace import Span, parse, span
from worker.pipeline import write_meshes
from worker.rendering.previews import thumbnail
from worker.serving.context import WorkerContext
from worker.serving.failures import delete_results, errors_recorded, retry_storage
from worker.serving.progress import ProgressReport
from worker.serving.spool import Reconstruction

log = logging.getLogger(__name__)


class Finisher:
    """Ends jobs whose meshes have been reconstructed."""

    def __init__(self, context: WorkerContext) -> None:
        self.context = context

    def finish(self, made: Reconstruction) -> None:
        """Errors end the job with a message in its record. Raises RedisError if it cannot be written."""
        job = made.job
        with (
            span("finish", parse(made.traceparent), kind="consumer") as own,
            errors_recorded(self.context, job),
        ):
            own.attributes["oflow.job"] = job.id
            report = ProgressReport(self.context.jobs, job, made.started, "write")
            timings, options = dict(made.timings), job.reconstruction_options()
            files = [
                self._store_format(made, options, number, report, timings)
                for number in range(len(options.formats))
            ]
            picture = self._store_thumbnail(made, report, timings)
            report.finish()
            timings["total"] = time.monotonic() - made.started
            result = _result(made.meshes, files, picture, timings)
            self._store_copy(job, result)
            if self.context.jobs.succeed(job, result):
                log.info("job %s succeeded in %.2f s", job.id, timings["total"])
            else:
                log.info("job %s, attempt %d: had already been ended elsewhere", job.id, job.attempt)
                delete_results(self.context, job)

    def _store_format(
        self,
        made: Reconstruction,
        options: ReconstructionOptions,
        number: int,
        report: ProgressReport,
        timings: dict[str, float],
    ) -> ResultFile:
        kind = options.formats[number]
        report("write", 0.95 + 0.05 * number / len(options.formats))
        with _timed(timings, "write", f"write {kind.value}"):
            data = write_meshes(made.meshes, kind, options, made.sequence)
        facts = self._store_file(made.job, f"mesh{kind.suffix}", data, kind.media_type, report, timings)
        return ResultFile(format=kind, **facts)

    def _store_thumbnail(
        self, made: Reconstruction, report: ProgressReport, timings: dict[str, float]
    ) -> Thumbnail:
        with _timed(timings, "write", "write thumbnail"):
            data = thumbnail(made.meshes)
        return Thumbnail(**self._store_file(made.job, "thumbnail.png", data, "image/png", report, timings))

    def _store_file(
        self,
        job: Job,
        name: str,
        data: bytes,
        media_type: str,
        report: ProgressReport,
        timings: dict[str, float],
    ) -> dict[str, Any]:
        """Store a file of the result; returns its name, size and hash."""
        report.require_current()
        with _timed(timings, "store", "store") as own:
            own.attributes |= {"oflow.file": name, "oflow.bytes": len(data)}
            self._store(job, name, data, media_type)
        return {"name": name, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}

    def _store_copy(self, job: Job, result: Result) -> None:
        """Store the record as it will be, from which it is restored should Redis lose its data."""
        self._store(job, COPY, dump(job.succeeded(result)).encode(), "application/json")

    @retry_storage
    def _store(self, job: Job, name: str, data: bytes, media_type: str) -> None:
        self.context.store.put(job.result_key(name), io.BytesIO(data), media_type)


@contextmanager
def _timed(timings: dict[str, float], stage: str, name: str) -> Iterator[Span]:
    """A span with this name, whose seconds are added to those of the stage."""
    start = time.monotonic()
    with span(name) as own:
        yield own
    timings[stage] = timings.get(stage, 0.0) + time.monotonic() - start


def _result(
    meshes: MeshSequence, files: list[ResultFile], picture: Thumbnail, timings: dict[str, float]
) -> Result:
    frames, vertices, _ = meshes.vertices.shape  # [T, V, 3]
    assert meshes.fit is not None  # noqa: S101  # always set by the Reconstructor
    assert meshes.findings is not None  # noqa: S101  # likewise
    return Result(
        verdict=meshes.findings.verdict,
        reasons=meshes.findings.reasons,
        warnings=meshes.findings.warnings,
        decisions=Decisions.model_validate(meshes.findings.decisions),
        files=files,
        thumbnail=picture,
        mesh=Mesh(vertices=vertices, faces=len(meshes.faces), frames=frames, watertight=meshes.watertight),
        fit=Fit(mean=_rounded(meshes.fit.mean), p95=_rounded(meshes.fit.p95)),
        timings={stage: round(seconds, 4) for stage, seconds in timings.items()},
    )


def _rounded(distances: NDArray[np.float64]) -> list[float | None]:
    """Distances [T] with six digits: more take room in each record, and say nothing; None for NaN."""
    return [None if np.isnan(distance) else float(f"{distance:.6g}") for distance in distances]
