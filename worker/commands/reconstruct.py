"""`worker reconstruct` and `worker models`: the path of a job without a server."""

import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Column, Table

from model import Reconstructor
from model.config.files import config_names
from model.config.schema import Config, load_config
from model.errors import ModelError
from model.meshes.sequence import MeshSequence
from service.core.jobs.formats import Format
from service.core.jobs.option_faults import OptionsError
from service.core.jobs.options import ReconstructionOptions
from service.core.sequences.sequence import SequenceError, read_sequence
from service.core.sequences.sources import Source, SourceError
from worker.checkpoints import checkpoint_file, is_url, kept_file
from worker.device import pick_device
from worker.pipeline import reconstruct_sequence, write_meshes
from worker.tasks.registry import task_name

console = Console(soft_wrap=True)
WIDEST = 200  # columns of a table in a file or a pipe


def reconstruct_source(
    source: Source,
    topic: str | None,
    targets: Mapping[Format, Path],
    model: str,
    checkpoint: str | None,
    device: str,
    options: ReconstructionOptions,
) -> int:
    """Read `source`, write `targets`, print fit and timings. Returns the exit code: 0, or 2 for a refusal."""
    try:
        with source.open(topic) as file:
            sequence = read_sequence(file, options=options.read_options)
        began = time.perf_counter()
        config = load_config(model)
        weights = checkpoint_file(config, checkpoint)
        reconstructor = Reconstructor.from_config(config, weights, device=pick_device(device))
        load_seconds = time.perf_counter() - began
        columns = (
            TextColumn("{task.description:10}"),
            BarColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=console) as bar:
            task = bar.add_task("encode", total=1.0)
            meshes = reconstruct_sequence(
                reconstructor,
                sequence,
                options,
                lambda stage, fraction: bar.update(task, description=stage, completed=fraction),
            )
            bar.update(task, description="write", completed=1.0)
            for file_format, target in targets.items():
                target.write_bytes(write_meshes(meshes, file_format, options, sequence))
    except (ModelError, SequenceError, SourceError, OptionsError, OSError) as error:
        console.print(f"[red]{source.name}[/]: {error}", highlight=False)
        return 2
    _print_report(meshes, targets.values(), load_seconds)
    return 0


def _print_report(meshes: MeshSequence, files: Iterable[Path], load_seconds: float) -> None:
    frames, vertices, _ = meshes.vertices.shape  # [T, V, 3]
    console.print(
        f"{', '.join(map(str, files))}: {frames} frames, {vertices} vertices, {len(meshes.faces)} faces"
    )
    if meshes.fit is not None:
        mean, p95 = np.nanmean(meshes.fit.mean), np.nanmax(meshes.fit.p95)
        console.print(
            f"fit: points lie {mean:.3g} from the mesh on average, 95 % within {p95:.3g} in the worst frame"
        )
    if meshes.findings is not None:
        findings = meshes.findings
        console.print(f"verdict: {findings.verdict}", highlight=False)
        for line in findings.reasons + findings.warnings:
            console.print(f"  {line}", highlight=False)
        if counts := removed_points(findings.decisions.get("removed", {})):
            console.print(f"removed points: {counts}", highlight=False)
    stages = {"load": load_seconds} | meshes.timings
    console.print("seconds: " + ", ".join(f"{stage} {seconds:.2f}" for stage, seconds in stages.items()))


def removed_points(removed: Mapping[str, Sequence[int]]) -> str:
    """How many points cleanup removed from all frames, by reason."""
    counts = {reason: sum(of_frames) for reason, of_frames in removed.items()}
    return ", ".join(f"{reason.replace('_', ' ')} {count:,}" for reason, count in counts.items() if count)


def print_models() -> None:
    """A table of the configs: what each is for, and whether it has a checkpoint here."""
    table = Table(Column("name", no_wrap=True), "for", Column("checkpoint", overflow="fold"))
    for name in config_names():
        if name.startswith("training/"):
            continue  # recipes: what they make is loaded by another config
        config = load_config(name)
        table.add_row(name, task_name(config), _where(config))
    own = Console(soft_wrap=True)
    if not own.is_terminal:  # in a file or a pipe a model is one line, however long its names
        own.width = WIDEST
    own.print(table)
    own.print("Checkpoints `to fetch` are downloaded on first use; models with none need --checkpoint.")


def _where(config: Config) -> str:
    """The checkpoint that a config names, where it is here."""
    if is_url(name := config.test.model_file):
        return name.rpartition("/")[2] if kept_file(name).is_file() else "to fetch"
    found = config.checkpoint_path()
    return found.name if found else "none"
