"""Scores of everything that was generated for a test split, in parallel processes."""

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

from model.config import Config
from worker.data import DataError, build_dataset
from worker.data.windows import Window
from worker.evaluation.layout import GenerationFolder, Windows, identity, is_made_from, window_of
from worker.evaluation.scores import (
    SURFACE_SAMPLES,
    Row,
    read_window,
    score_meshes,
    score_points,
    worst_scores,
)


@dataclass(frozen=True)
class Scored:
    """The row of one window, and whether its meshes were there."""

    window: Window
    row: Row
    missing: bool = False  # nothing was generated
    failed: bool = False  # it was tried, and gave no mesh: scores the worst
    checkpoint: str | None = None  # hash of the one that made the meshes, where it was noted


@dataclass(frozen=True)
class Evaluation:
    """What to measure: the meshes in `folder`, or with `of_inputs` the input points themselves."""

    config: Config
    folder: GenerationFolder
    of_inputs: bool = False
    samples: int = SURFACE_SAMPLES

    def score(self, dataset: Windows, index: int) -> Scored:
        """The row of one window. Raises DataError where files are damaged or do not go together."""
        test, window = self.config.test, window_of(dataset, index)
        row: Row = identity(window, index)
        if self.of_inputs:
            inputs, truth = read_window(dataset, index, with_occupancy=False)
            tracked = self.config.data.input_pointcloud_corresponding
            return Scored(window, row | score_points(inputs, truth, tracked))
        record = self.folder.record(window) or {}
        checkpoint = record.get("made with", {}).get("checkpoint")
        inputs, truth = read_window(dataset, index, test.eval_mesh_iou)
        if record and not is_made_from(record, inputs):
            raise DataError(
                f"{self.folder.meshes(window)} was made from other inputs than the data set gives now; its "
                "files or settings have changed: run `worker generate` again, or name the folder with --out"
            )
        if record.get("error") is not None:
            frames = 2 if test.eval_only_end_time_steps else self.config.data.length_sequence
            worst = worst_scores(frames, test.eval_mesh_iou, test.eval_mesh_correspondences)
            return Scored(window, row | worst, failed=True, checkpoint=checkpoint)
        meshes = self.folder.read_meshes(window)
        if not meshes:
            return Scored(window, row, missing=True)
        if test.eval_only_end_time_steps:
            meshes, truth = [meshes[0], meshes[-1]], truth.ends()
        scores = score_meshes(
            meshes,
            truth,
            seed=[index],
            with_correspondence=test.eval_mesh_correspondences,
            project_last=test.project_to_final_mesh,
            samples=self.samples,
        )
        return Scored(window, row | scores, checkpoint=checkpoint)


def open_test_split(config: Config, samples: int = SURFACE_SAMPLES) -> Windows:
    """The test split; items of drawn bodies hold that many samples of the truth."""
    training = config.training.model_copy(update={"n_eval_points": samples})
    return build_dataset(config.model_copy(update={"training": training}), "test")


def evaluate(evaluation: Evaluation, indices: Sequence[int], workers: int) -> Iterator[Scored]:
    """The rows of these items of the test split, as they get done."""
    if workers <= 1:
        dataset = open_test_split(evaluation.config, evaluation.samples)
        yield from (evaluation.score(dataset, index) for index in indices)
        return
    # Started afresh: forking a process that runs threads may hang.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, _open, (evaluation,)) as pool:
        try:
            for future in as_completed([pool.submit(_score, index) for index in indices]):
                yield future.result()
        except BrokenProcessPool:
            raise DataError(
                f"one of {workers} processes died, often for want of memory; use fewer: --workers 1"
            ) from None
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


_opened: tuple[Evaluation, Windows]  # of this process


def _open(evaluation: Evaluation) -> None:
    global _opened
    _opened = evaluation, open_test_split(evaluation.config, evaluation.samples)


def _score(index: int) -> Scored:
    evaluation, dataset = _opened
    return evaluation.score(dataset, index)
