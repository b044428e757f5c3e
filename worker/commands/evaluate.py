"""`worker generate`, `worker evaluate` and `worker score`."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.markup import escape

if TYPE_CHECKING:
    from model.config.schema import Config
    from worker.evaluation.scores import Row

console = Console(soft_wrap=True)

ConfigName = Annotated[str, typer.Argument(metavar="CONFIG", help="A name under configs/, or a YAML file.")]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="[key.sub=value]…", help="Settings instead of the file's.")
]
Checkpoint = Annotated[
    str | None, typer.Option(help="A .pt file or its URL instead of the one that the config names.")
]
Split = Annotated[str | None, typer.Option(help="Instead of data.test_split.")]
Out = Annotated[Path | None, typer.Option(help="Instead of training.out_dir / generation.generation_dir.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, …; auto takes the GPU where there is one.")]
Quality = Annotated[
    Literal["exact", "balanced", "draft"],
    typer.Option(help="Of point-cloud completion: how closely meshes follow the network, for less time."),
]
Limit = Annotated[int | None, typer.Option(min=1, help="How many windows of the split; all by default.")]


def generate(
    config: ConfigName,
    overrides: Overrides = None,
    checkpoint: Checkpoint = None,
    split: Split = None,
    out: Out = None,
    device: Device = "auto",
    quality: Quality = "exact",
    limit: Limit = None,
) -> None:
    """Write what the model makes of a test split, in the published folders. Call it again after a stop."""
    with refusals():
        from worker.data import build_dataset
        from worker.device import pick_device
        from worker.evaluation.generation import generate as run
        from worker.evaluation.layout import GenerationFolder, chosen
        from worker.evaluation.report import save_timings
        from worker.tasks.registry import load_task

        settings = load(config, overrides, split)
        dataset = build_dataset(settings, "test")
        task = load_task(settings, checkpoint, pick_device(device), quality)
        folder = GenerationFolder.of(settings, out)
        indices = chosen(settings, len(dataset), limit)
        with bar("generate", len(indices)) as advance:
            done = run(task, dataset, indices, folder, lambda _: advance())
        if done.timings:
            save_timings(done.timings, folder.root)
        console.print(f"{folder.root}: {done.made} windows generated, {done.kept} kept from before")
        if done.empty:
            frames = sum(map(len, done.empty.values()))
            console.print(
                f"[yellow]{frames} frames of {len(done.empty)} windows are empty[/]; generation.json says why"
            )
        for window, reason in done.failed.items():
            console.print(
                f"[yellow]nothing[/] of {window.category}/{window.name}/{window.start:05d}: {escape(reason)}"
            )


def evaluate(
    config: ConfigName,
    overrides: Overrides = None,
    eval_input: Annotated[
        bool, typer.Option("--eval-input", help="Measure the input points instead of the meshes.")
    ] = False,
    split: Split = None,
    out: Out = None,
    limit: Limit = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
) -> None:
    """Measure what was generated of a test split against the truth; tables and a plot beside it."""
    with refusals():
        from worker.data import build_dataset
        from worker.data.errors import DataError
        from worker.evaluation.evaluation import Evaluation
        from worker.evaluation.evaluation import evaluate as run
        from worker.evaluation.layout import GenerationFolder, chosen

        settings = load(config, overrides, split)
        folder = GenerationFolder.of(settings, out)
        indices = chosen(settings, len(build_dataset(settings, "test")), limit)
        with bar("evaluate", len(indices)) as advance:
            scored = []
            for one in run(Evaluation(settings, folder, eval_input), indices, min(workers, len(indices))):
                scored.append(one)
                advance()
        missing, failed = [one for one in scored if one.missing], [one for one in scored if one.failed]
        if len(missing) == len(scored):
            raise DataError(
                f"{folder.root} holds none of the {len(scored)} windows; run `worker generate` first"
            )
        if missing:
            console.print(
                f"[yellow]{len(missing)} of {len(scored)} windows were not generated[/] and do not count"
            )
        if len(made_by := {one.checkpoint for one in scored if one.checkpoint}) > 1:
            console.print(f"[yellow]the files come from {len(made_by)} checkpoints[/]; generate all again")
        if failed:
            console.print(f"{len(failed)} of {len(scored)} windows gave nothing and score the worst")
        rows = [one.row for one in scored if not one.missing]
        _report(rows, settings, folder.root, "eval_input" if eval_input else "eval_meshes")


def score(
    config: ConfigName,
    overrides: Overrides = None,
    checkpoint: Checkpoint = None,
    split: Split = None,
    sequence: Annotated[
        Path | None,
        typer.Option(help="A sequence in the published layout, instead of the data set."),
    ] = None,
    device: Device = "auto",
    quality: Quality = "exact",
    limit: Limit = None,
    samples: Annotated[
        int, typer.Option(min=1, help="Of each mesh's surface; published numbers take 100,000.")
    ] = 100_000,
    network: Annotated[
        bool, typer.Option("--network", help="Measure occupancy and flow alone as well, as training does.")
    ] = False,
) -> None:
    """Measure a checkpoint on windows it has not seen, by the published protocol, without writing a file."""
    with refusals():
        from worker.device import pick_device
        from worker.evaluation.evaluation import open_test_split
        from worker.evaluation.held_out import (
            score_network,
            score_windows,
            sequence_overrides,
            sequence_windows,
        )
        from worker.evaluation.layout import chosen
        from worker.evaluation.report import score_table
        from worker.tasks.registry import load_task

        settings = load(config, overrides, split, sequence_overrides(sequence) if sequence else {})
        dataset = open_test_split(settings, samples)
        task = load_task(settings, checkpoint, pick_device(device), quality)
        windows = chosen(settings, len(dataset), limit)
        if sequence:
            windows = sequence_windows(dataset, sequence)[:limit]
        with bar("score", len(windows)) as advance:
            rows = score_windows(task, dataset, windows, samples, on_row=lambda _: advance())
        console.print(score_table(rows, "mesh" if task.gives == "meshes" else "pcl", _title(settings)))
        if network:
            means = score_network(task, windows)
            if "iou" in means:
                overlap = f"{means['iou_t0']:.4f} at t = 0, {means['iou']:.4f} over all frames"
                console.print(f"the network alone: IoU {overlap}")
            if "l2" in means:
                console.print(f"true particles carried: correspondence x 10 {10 * means['l2']:.4f}")
            if "chamfer" in means:
                console.print(f"the network alone: loss of training (chamfer) {means['chamfer']:.4f}")


def load(
    config: str, overrides: list[str] | None, split: str | None = None, reading: dict[str, Any] | None = None
) -> "Config":
    """The config with what the command line says instead; `reading` says where the data lies."""
    from model.config.files import merge
    from model.config.schema import load_config
    from worker.commands.train import parse_overrides

    given = merge(parse_overrides(overrides or []), {"data": {"test_split": split}} if split else {})
    return load_config(config, merge(given, reading or {}))


def _title(config: "Config") -> str:
    return f"{config.name}, {config.data.dataset}, split {config.data.test_split}"


def _report(rows: "list[Row]", config: "Config", folder: Path, stem: str) -> None:
    from worker.evaluation.plots import plot_over_time
    from worker.evaluation.report import save_scores, score_table

    of_points = stem == "eval_input" or not config.test.eval_mesh
    kind = "pcl" if of_points else "mesh"
    only_ends = (
        config.data.input_type == "end_pointclouds" if of_points else config.test.eval_only_end_time_steps
    )
    frames = 2 if only_ends else config.data.length_sequence
    save_scores(rows, folder, stem)
    plot_over_time(rows, frames, kind, _title(config), folder / f"{stem}.png")
    console.print(score_table(rows, kind, _title(config)))
    console.print(f"all scores in {folder}/{stem}_full.pkl, means in {stem}.csv, over time in {stem}.png")


@contextmanager
def refusals() -> Iterator[None]:
    """One message and exit code 2 for what cannot be done."""
    from model.errors import ModelError

    try:
        yield
    except (ModelError, OSError) as error:
        console.print(f"[red]refused[/]: {escape(str(error))}", highlight=False)
        raise typer.Exit(2) from None


@contextmanager
def bar(word: str, total: int) -> Iterator[Callable[[], None]]:
    """A progress bar with the time that is left; the callable moves it on by one."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
    from rich.progress import TimeRemainingColumn as Left

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        Left(),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(word, total=total)
        yield lambda: bar.advance(task)
