"""The interface of a method: everything that differs between methods, in one object.

To add a method, write a subclass in a file of this package, list it in `model.methods.METHODS`, and add a
config with its name. Modules of this package are imported to read a config, so they import torch and the
networks inside of functions only.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeVar

if TYPE_CHECKING:
    from torch import Tensor, nn

    from model.config.schema import Config

Split = Literal["train", "val", "test"]
Gives = Literal["meshes", "point clouds"]
Net = TypeVar("Net", bound="nn.Module")


class Method(ABC, Generic[Net]):
    """A network, its training and its evaluation. Instances hold no state."""

    name: ClassVar[str]  # the value of `method` in configs
    gives: ClassVar[Gives] = "meshes"
    extracts: ClassVar[bool] = False  # whether its meshes are surfaces of an occupancy, given a decoder
    # Values of data.dataset that it can be trained on.
    datasets: ClassVar[tuple[str, ...]] = ("Humans", "bodies")
    # Values of training.parts besides `joint`, and the children of the network that each of them trains.
    halves: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    def find_conflict(self, config: Config) -> str | None:  # noqa: ARG002
        """Describe settings that contradict each other for this method; None if there are none."""
        return None

    @abstractmethod
    def task(self, config: Config) -> str:
        """The task that a config of this method serves, a key of `worker.tasks.registry.TASKS`."""

    @abstractmethod
    def build(self, config: Config) -> Net:
        """The network with random weights, on the CPU. Raises ConfigError for unknown or missing parts."""

    @abstractmethod
    def loss_fields(self, config: Config) -> Mapping[str, tuple[str, ...]]:
        """The loss terms that a config asks for, and the fields of a batch that each reads besides inputs."""

    def dataset_fields(self, config: Config, split: Split) -> tuple[str, ...]:  # noqa: ARG002
        """Fields of the items of a data set on disk, in the order in which random numbers are drawn."""
        return ()

    @abstractmethod
    def losses(self, net: Net, batch: Any, config: Config) -> dict[str, Tensor]:
        """The terms of `loss_fields` as scalars, whose sum is minimized.

        `batch` maps names of fields to tensors [B, …], unless the data set yields batches of its own kind.
        """

    @abstractmethod
    def score(self, net: Net, batch: Any, config: Config) -> dict[str, list[float]]:
        """Validation metrics by name, one value per item of the batch."""

    @abstractmethod
    def minimized_metrics(self, config: Config) -> tuple[str, ...]:
        """The metrics of `score` whose sum is the validation metric `loss`: what training minimizes."""
