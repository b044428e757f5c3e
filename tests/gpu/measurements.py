"""What a GPU is measured by: inference per stage, batches, CUDA graphs, transfers and the roofline."""

import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch

from model import Reconstructor
from model.networks.occupancy_flow import OccupancyFlow
from model.reconstruction.quality import DEFAULT
from model.registration.backends import Name
from tests.benchmarks.registration_times import Case, Stopwatch, draw
from tests.widening import widened
from worker.data.samples import Person

JUMPING_JACK = Person("jumping_jacks", seed=2, start=20)
WIDE = "pointcloud/oflow_w_correspond"  # 512 wide, as published
QUERIES = 65_536
Row = dict[str, Any]


def seconds(run: Callable[[], object], device: str, rounds: int) -> float:
    """Median wall-clock time of a call that has run twice before, with the device's work done."""
    run()
    run()
    laps = []
    for _ in range(rounds):
        _wait(device)
        began = time.perf_counter()
        run()
        _wait(device)
        laps.append(time.perf_counter() - began)
    return statistics.median(laps)


def models(device: str, dry: bool) -> dict[str, Reconstructor]:
    """The shipped network, and the same function 512 wide."""
    narrow = Reconstructor.from_config("bodies", device=device)
    if dry:
        return {"128 wide": narrow}
    wide = widened(Reconstructor.from_config("bodies"), WIDE)
    return {"128 wide": narrow, "512 wide": Reconstructor(wide.config, wide.net, "", device)}


def stages(device: str, dry: bool) -> list[Row]:
    """Seconds by stage of one sequence of 17 × 300 points, by width and quality."""
    points = _sample()
    rows = []
    for width, model in models(device, dry).items():
        for quality in ("balanced",) if dry else ("exact", "balanced", "draft"):
            for _ in range(2):
                model(points, quality=quality, refine="off")
            laps = [model(points, quality=quality, refine="off").timings for _ in range(1 if dry else 5)]
            medians = {stage: statistics.median(lap[stage] for lap in laps) for stage in laps[0]}
            rows.append({"width": width, "quality": quality, "all": sum(medians.values()), **medians})
    return rows


def registration(device: str, dry: bool) -> list[Row]:
    """Registration of 17 × 2,000 points by both backends: seconds, mean distance of the points, stages.

    Seconds of stages are of waiting, added over threads; a stage is without the stages within it.
    """
    clouds = draw(Case(3, 300) if dry else Case(17, 2000))
    rows: list[Row] = []
    names: tuple[Name, ...] = ("numba", "torch")
    for name in names:
        watch = Stopwatch(time.perf_counter)
        with watch.on_stages():
            model = Reconstructor.from_config("local_oflow", device=device, registration=name)
            reconstruct = partial(model, clouds, corresponding=False, quality="draft" if dry else DEFAULT)
            if not dry:
                reconstruct()
            watch.seconds.clear()
            found = reconstruct()
        assert found.fit is not None
        row = {
            "backend": name,
            "seconds": found.timings["register"],
            "distance": float(found.fit.mean.mean()),
        }
        rows.append(row | watch.seconds)
    return rows


def networks(device: str, dry: bool) -> list[Row]:
    """Encoder, decoder and velocity field by width, batch and type of product; TFLOP/s of the last two."""
    return [
        {"width": width, "batch": batch, "type": str(dtype).removeprefix("torch.")}
        | _network(model.occupancy_flow, batch, dtype, device, dry)
        for width, model in models(device, dry).items()
        for batch in ((1,) if dry else (1, 16))
        for dtype in (torch.float32, torch.bfloat16)
    ]


def _network(net: OccupancyFlow, batch: int, dtype: torch.dtype, device: str, dry: bool) -> Row:
    count, rounds = (2048, 2) if dry else (QUERIES, 10)
    generator = torch.Generator().manual_seed(0)
    clouds = _inputs(device).expand(batch, -1, -1, -1).contiguous()  # [B, 17, N, 3]
    queries = (torch.rand(batch, count, 3, generator=generator) - 0.5).to(device)  # [B, Q, 3]
    times = torch.full((batch,), 0.5, device=device)  # [B]
    low = dtype != torch.float32
    with torch.inference_mode(), torch.autocast(torch.device(device).type, dtype, enabled=low):
        c_s, c_t = net.encode_inputs(clouds)
        calls: dict[str, Callable[[], object]] = {
            "encode": lambda: net.encode_inputs(clouds),
            "decode": lambda: net.decode(queries, None, c_s),
            "velocity": lambda: net.velocity(times, queries, None, c_t),
        }
        row: Row = {name: seconds(call, device, rounds) for name, call in calls.items()}
    for name, module in (("decode", net.decoder), ("velocity", net.vector_field)):
        assert module is not None
        weights = sum(parameter.numel() for parameter in module.parameters() if parameter.ndim > 1)
        row[f"{name} TFLOP/s"] = 2e-12 * weights * batch * count / row[name]
    return row


def compiled(device: str, dry: bool) -> list[Row]:
    """The velocity field of one sequence: eager, compiled, and replayed as a CUDA graph."""
    if not device.startswith("cuda"):
        return []
    return [
        {"width": width} | _compiled(model.occupancy_flow, device)
        for width, model in models(device, dry).items()
    ]


@torch.inference_mode()
def _compiled(net: OccupancyFlow, device: str) -> Row:
    _, c_t = net.encode_inputs(_inputs(device))
    field = net.vector_field.condition(None, c_t)
    points = torch.rand(1, 16_384, 3, device=device) - 0.5  # [1, P, 3]
    moment = torch.full((1,), 0.5, device=device)
    fused = torch.compile(field)
    row = {
        name: seconds(partial(call, moment, points), device, 20)
        for name, call in (("eager", field), ("compiled", fused))
    }
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        field(moment, points)
    return row | {"CUDA graph": seconds(graph.replay, device, 20)}


def roofline(device: str, dry: bool) -> list[Row]:
    """What the device reaches: products by type, copies on it, transfers to and from it."""
    size = 512 if dry else 8192
    rows = []
    for name, dtype, precision in (
        ("float32", torch.float32, "highest"),
        ("tf32", torch.float32, "high"),
        ("bfloat16", torch.bfloat16, "highest"),
    ):
        torch.set_float32_matmul_precision(precision)
        a = torch.randn(size, size, device=device, dtype=dtype)
        took = seconds(partial(torch.matmul, a, a), device, 2 if dry else 5)
        rows.append({"what": f"product, {name}", "rate": 2e-12 * size**3 / took, "unit": "TFLOP/s"})
    torch.set_float32_matmul_precision("highest")
    here = torch.empty((4 if dry else 1024) << 20, dtype=torch.uint8, device=device)
    there = torch.empty_like(here)
    took = seconds(lambda: there.copy_(here), device, 5)
    rows.append({"what": "copy on the device", "rate": 2e-9 * here.numel() / took, "unit": "GB/s"})
    if device.startswith("cuda"):
        host = torch.empty(256 << 20, dtype=torch.uint8, pin_memory=True)
        part = here[: host.numel()]
        for what, run in (
            ("to the device", lambda: part.copy_(host)),
            ("from the device", lambda: host.copy_(part)),
        ):
            rows.append({"what": what, "rate": 1e-9 * host.numel() / seconds(run, device, 5), "unit": "GB/s"})
    return rows


def _inputs(device: str) -> torch.Tensor:
    return torch.from_numpy(_sample().astype(np.float32))[None].to(device)  # [1, 17, N, 3]


def _sample() -> np.ndarray:
    return JUMPING_JACK.arrays()["points"]  # [17, 300, 3]


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()
