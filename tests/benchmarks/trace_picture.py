"""Draws the spans of one job, from its upload to the storage of its files.

    python -m tests.benchmarks.trace_picture trace.png

Starts Redis, an object store, a gateway, a worker and a collector of its own.
"""

import argparse
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from service.core.trace import parse
from service.local.log import MergedLog
from service.local.object_store import ObjectStore
from service.local.redis_server import RedisServer
from service.local.stack import service_environment
from service.page.samples import SAMPLES
from tests.integration.service_processes import Gateway, Worker, running
from tests.otlp import Received, collecting

COLORS = {"oflow-gateway": "tab:blue", "oflow-worker": "tab:orange"}


def trace_of_a_job(formats: str = "glb,usdz,npz") -> list[Received]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        collector = stack.enter_context(collecting())
        log = MergedLog(sys.stderr)
        redis = stack.enter_context(running(RedisServer(folder / "redis", log)))
        store = stack.enter_context(running(ObjectStore(folder / "store", log)))
        environment = service_environment(redis.url, store) | collector.environment
        gateway = stack.enter_context(running(Gateway(environment)))
        stack.enter_context(running(Worker(environment), 120))
        sample = SAMPLES["knees"].path.read_bytes()
        gateway.follow(gateway.submit(sample)["id"])  # warms caches
        files = {"file": ("knees.npz", sample)}
        answer = gateway.client.post("/reconstruct", files=files, data={"formats": formats})
        trace = parse(answer.headers["traceparent"])
        assert trace is not None
        gateway.follow(answer.json()["id"])
        return collector.trace(trace.trace_id, 11 + 2 * len(formats.split(",")))


def draw(spans: list[Received], path: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot
    from matplotlib.patches import Patch

    start = min(span.start for span in spans)
    by_id = {span.span_id: span for span in spans}

    def depth(span: Received) -> int:
        parent = by_id.get(span.parent_id)
        return 0 if parent is None else 1 + depth(parent)

    figure, axes = pyplot.subplots(figsize=(10, 0.3 * len(spans) + 0.8), layout="constrained")
    for row, span in enumerate(spans):
        length = 1e3 * (span.end - span.start)
        axes.barh(row, length, left=1e3 * (span.start - start), color=COLORS[span.service])
        axes.text(1e3 * (span.end - start), row, f"  {length:.0f} ms", va="center", fontsize=8)
    axes.set_yticks(range(len(spans)), ["    " * depth(span) + span.name for span in spans], ha="left")
    axes.tick_params(axis="y", pad=130, length=0)
    axes.invert_yaxis()
    axes.set_xlabel("milliseconds since the request arrived")
    axes.margins(x=0.1)
    axes.legend(handles=[Patch(color=color, label=name) for name, color in COLORS.items()], loc="upper right")
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("path", type=Path)
    draw(trace_of_a_job(), parser.parse_args().path)
