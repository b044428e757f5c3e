"""`make bench`: where the time of a job goes, and what the service adds to the bare Reconstructor."""

import io
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.progress import track
from rich.table import Table

from model import Reconstructor
from service.core.sequences.sequence import PointCloudSequence, read_sequence
from service.local.log import MergedLog
from service.local.stack import LocalStack
from service.page.samples import SAMPLES

ROUNDS = 5
POLL_SECONDS = 0.01
COMPUTED = ("prepare", "register", "fit")  # what the bare Reconstructor does
ORDER = ("upload", "queue", "fetch", *COMPUTED, "write", "store", "notice", "download")

console = Console()


def through_the_service(client: httpx.Client, file: bytes) -> dict[str, float]:
    """Seconds of each stage of one job, as its record and its client saw them; `all`: POST to file."""
    began = time.perf_counter()
    answer = client.post("/reconstruct", files={"file": ("sample.npz", file)}).raise_for_status()
    stages = {"upload": time.perf_counter() - began}
    while (job := client.get(answer.headers["Location"]).json())["state"] in ("queued", "running"):
        time.sleep(POLL_SECONDS)
    known = time.perf_counter()
    if job["state"] != "succeeded":
        raise SystemExit(f"the job {job['state']}: {job['error']['message']}")
    timings = job["result"]["timings"]
    # What is left: the worker's bookkeeping, and the time until a poll sees the end.
    stages["notice"] = known - began - stages["upload"] - timings["queue"] - timings["total"]
    client.get(job["result"]["files"][0]["href"], follow_redirects=True).raise_for_status()
    stages["download"] = time.perf_counter() - known
    stages["all"] = time.perf_counter() - began
    return stages | {stage: seconds for stage, seconds in timings.items() if stage != "total"}


def bare(reconstructor: Reconstructor, sequence: PointCloudSequence) -> dict[str, float]:
    began = time.perf_counter()
    meshes = reconstructor(sequence.points, sequence.times, sequence.corresponding)
    meshes.to_glb()
    return dict(meshes.timings) | {"all": time.perf_counter() - began}


def gateway_import() -> float:
    code = "import time; t = time.perf_counter(); import service.api.app; print(time.perf_counter() - t)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout)


def medians(runs: list[dict[str, float]]) -> dict[str, float]:
    return {stage: statistics.median(run[stage] for run in runs) for stage in runs[0]}


def main() -> None:
    file = SAMPLES["knees"].path.read_bytes()
    sequence = read_sequence(io.BytesIO(file))
    log = MergedLog(io.StringIO())
    imports = [gateway_import() for _ in range(ROUNDS)]
    console.print(
        f"The gateway's modules are imported in {statistics.median(imports):.2f} s. Wanted: under 1."
    )
    with tempfile.TemporaryDirectory() as directory, LocalStack(Path(directory), log) as stack:
        loads = [re.search(r"loaded in ([\d.]+) s", line) for line in log.tail("worker", 500)]
        reconstructor = Reconstructor.from_config("bodies")
        client = httpx.Client(base_url=stack.address, trust_env=False, timeout=60)
        served, alone = [], []
        for _ in track(range(ROUNDS + 1), "in turn: service, bare", console=console, transient=True):
            served.append(through_the_service(client, file))
            alone.append(bare(reconstructor, sequence))
    load = next(float(found[1]) for found in loads if found)
    _print(load, medians(served[1:]), medians(alone[1:]))  # the first of each warms up
    overheads = [run["all"] - sum(run[stage] for stage in (*COMPUTED, "write")) for run in served[1:]]
    overhead = statistics.median(overheads)
    ratio = statistics.median(s["all"] / a["all"] for s, a in zip(served[1:], alone[1:], strict=True))
    console.print(
        f"The service adds {overhead:.2f} s to a job ({min(overheads):.2f} to {max(overheads):.2f}): all but "
        f"{', '.join(COMPUTED)} and write. Wanted: under 0.3. Service to bare, in pairs: {ratio:.2f} times.",
        soft_wrap=True,
    )


def _print(load: float, served: dict[str, float], alone: dict[str, Any]) -> None:
    table = Table("stage", "service", "bare", title=f"Seconds, median of {ROUNDS} (load: once a worker)")
    table.add_row("load", f"{load:.3f}", "")
    for stage in (*ORDER, "all"):
        seconds = alone.get(stage)
        table.add_row(stage, f"{served[stage]:.3f}", "" if seconds is None else f"{seconds:.3f}")
    console.print(table)


if __name__ == "__main__":
    main()
