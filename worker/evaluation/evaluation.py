"""Scores of everything that was generated for a test split, in parallel processes."""

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace

from model.config.schema import Config
from model.config.sections import TestConfig
from model.errors import ConfigError
from worker.data import DataError, build_dataset
from worker.data.windows import Window, Windows, window_of
from worker.evaluation.layout import GenerationFolder, Kind, identity, inputs_of, is_made_from
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
        window = window_of(dataset, index)
        if self.of_inputs:
            return Scored(window, identity(window, index) | self._score_inputs(dataset, index))
        scored = [self._score_kind(dataset, index, kind) for kind in evaluated(self.config.test)]
        return Scored(
            window,
            {key: value for one in scored for key, value in one.row.items()},
            missing=all(one.missing for one in scored),
            failed=any(one.failed for one in scored),
            checkpoint=next((one.checkpoint for one in scored if one.checkpoint), None),
        )

    def _score_kind(self, dataset: Windows, index: int, kind: Kind) -> Scored:
        """The row of the meshes, or of the point clouds, of one window."""
        test, window = self.config.test, window_of(dataset, index)
        row: Row = identity(window, index)
        folder = replace(self.folder, kind=kind)
        of_clouds = kind == "pointcloud"
        correspondence = test.eval_pointcloud_correspondences if of_clouds else test.eval_mesh_correspondences
        with_iou = test.eval_mesh_iou and not of_clouds
        record = folder.record(window) or {}
        checkpoint = record.get("made with", {}).get("checkpoint")
        item, truth = read_window(dataset, index, with_iou)
        if record and not is_made_from(record, inputs_of(item)):
            raise DataError(
                f"{folder.results(window)} was made from other inputs than the data set gives now; its "
                "files or settings have changed: run `worker generate` again, or name the folder with --out"
            )
        if record.get("error") is not None:
            frames = 2 if test.eval_only_end_time_steps else self.config.data.length_sequence
            worst = worst_scores(frames, with_iou, correspondence, "pcl" if of_clouds else "mesh")
            return Scored(window, row | worst, failed=True, checkpoint=checkpoint)
        if of_clouds:
            if not (clouds := folder.read_clouds(window)):
                return Scored(window, row, missing=True)
            scores = score_points(clouds, truth, correspondence)
        else:
            if not (meshes := folder.read_meshes(window)):
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


def evaluated(test: TestConfig) -> list[Kind]:
    """What `test.eval_mesh` and `test.eval_pointcloud` ask for. Raises ConfigError for neither."""
    kinds: list[Kind] = ["meshes"] if test.eval_mesh else []
    kinds += ["pointcloud"] if test.eval_pointcloud else []
    if not kinds:
        raise ConfigError("test.eval_mesh and test.eval_pointcloud are both false; wanted one of them true")
    return kinds


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
