"""Scores of everything that was generated for a test split, in parallel processes."""

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

from model.config.schema import Config
from worker.data import DataError, build_dataset
from worker.data.windows import Window, Windows, window_of
from worker.evaluation.layout import GenerationFolder, identity, inputs_of, is_made_from
from worker.evaluation.scores import (
    SURFACE_SAMPLES,
    Row,
    read_window,
    score_points,
    score_results,
    worst_scores,
)


@dataclass(frozen=True)
class Scored:
    """The row of one window, and whether its meshes were there."""

    window: Window
    row: Row
    missing: bool = False  # nothing was generated
    failed: bool = False  # it was tried, and gave nothing: scores the worst
    checkpoint: str | None = None  # hash of the one that made the meshes, where it was noted


@dataclass(frozen=True)
class Evaluation:
    """What to measure: the meshes or clouds in `folder`, or with `of_inputs` the input points themselves."""

    config: Config
    folder: GenerationFolder
    of_inputs: bool = False
    samples: int = SURFACE_SAMPLES

    def score(self, dataset: Windows, index: int) -> Scored:
        """The row of one window. Raises DataError where files are damaged or do not go together."""
        test, window = self.config.test, window_of(dataset, index)
        row: Row = identity(window, index)
        if self.of_inputs:
            return Scored(window, row | self._score_inputs(dataset, index))
        of_clouds = self.folder.kind == "pointcloud"
        correspondence = test.eval_pointcloud_correspondences if of_clouds else test.eval_mesh_correspondences
        with_iou = test.eval_mesh_iou and not of_clouds
        record = self.folder.record(window) or {}
        checkpoint = record.get("made with", {}).get("checkpoint")
        item, truth = read_window(dataset, index, with_iou)
        if record and not is_made_from(record, inputs_of(item)):
            raise DataError(
                f"{self.folder.results(window)} was made from other inputs than the data set gives now; its "
                "files or settings have changed: run `worker generate` again, or name the folder with --out"
            )
        if record.get("error") is not None:
            frames = 2 if test.eval_only_end_time_steps else self.config.data.length_sequence
            worst = worst_scores(frames, with_iou, correspondence, "pcl" if of_clouds else "mesh")
            return Scored(window, row | worst, failed=True, checkpoint=checkpoint)
        if of_clouds:
            if not (clouds := self.folder.read_clouds(window)):
                return Scored(window, row, missing=True)
            scores = score_points(clouds, truth, correspondence)
        else:
            if not (meshes := self.folder.read_meshes(window)):
                return Scored(window, row, missing=True)
            scores = score_results(meshes, truth, test, index, self.samples)
        return Scored(window, row | scores, checkpoint=checkpoint)

    def _score_inputs(self, dataset: Windows, index: int) -> Row:
        data = self.config.data
        if data.input_type not in ("pcl_seq", "end_pointclouds"):
            raise DataError(f"{self.config.name} reads {data.input_type}; wanted points to measure")
        item, truth = read_window(dataset, index, with_occupancy=False)
        truth = truth.ends() if data.input_type == "end_pointclouds" else truth
        return score_points(item["inputs"], truth, data.input_pointcloud_corresponding)


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
                f"one of {workers} processes died, often for lack of memory; use fewer: --workers 1"
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
