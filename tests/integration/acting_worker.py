"""What a worker does to a job, without one: tests of the gateway and its clients need no reconstruction."""

import io
from hashlib import sha256

from service.api.dependencies import GatewayContext
from service.core.jobs.formats import Format
from service.core.jobs.results import Fit, Mesh, Result, ResultFile

CONTENT = b"abc"
RESULT = Result(
    files=[ResultFile(format=Format.GLB, name="mesh.glb", bytes=3, sha256=sha256(CONTENT).hexdigest())],
    mesh=Mesh(vertices=1, faces=1, frames=2, watertight=True),
    fit=Fit(mean=[0.1], p95=[0.2]),
    timings={},
)


def finish(context: GatewayContext, job_id: str) -> None:
    """Claim a job, store CONTENT as its GLB and let it succeed."""
    attempt = context.jobs.claim(job_id, 3)
    assert attempt is not None
    context.store.put(attempt.result_key("mesh.glb"), io.BytesIO(CONTENT), "model/gltf-binary")
    assert context.jobs.succeed(attempt, RESULT)
