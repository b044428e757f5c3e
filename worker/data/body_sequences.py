"""Sequences of moving bodies to write to disk, and how they are split as the published data is."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from worker.bodies import ACTIONS, load_rig
from worker.bodies.rig import Floats
from worker.bodies.scenes import HELD_OUT_ADULTS, TRAINING_ADULTS, Scenes

FIRST_NUMBER = 90001  # of the people, far from those of D-FAUST


@dataclass(frozen=True)
class BodySequence:
    """One person doing one of `ACTIONS`; all of it follows from the seed, the person and the action."""

    person: int  # from 0 on
    action: str
    held_out: bool  # near the adults that training on drawn bodies never sees
    frames: int
    seed: int
    variety: float
    turn: float

    @property
    def name(self) -> str:
        return f"{FIRST_NUMBER + self.person}_{self.action}"

    @property
    def numbers(self) -> tuple[int, ...]:
        return tuple(range(self.frames))

    @property
    def faces(self) -> NDArray[np.int32]:
        return load_rig().faces

    def vertices(self, index: int) -> Floats:
        """Vertices [V, 3] of a frame, in metres."""
        frame: Floats = self.all_vertices[index]
        return frame

    @cached_property
    def all_vertices(self) -> Floats:
        """Vertices [T, V, 3]."""
        adults = HELD_OUT_ADULTS if self.held_out else TRAINING_ADULTS
        scenes = Scenes(adults, self.variety, self.turn)
        body = scenes.draw_body(np.random.default_rng([self.seed, self.person]))
        moves = np.random.default_rng([self.seed, self.person, 1 + list(ACTIONS).index(self.action)])
        return scenes.draw(moves, self.frames, self.action, body).vertices


def split_bodies(
    people: int, new_people: int, frames: int, seed: int, variety: float, turn: float
) -> dict[str, list[BodySequence]]:
    """The sequences of each split: every person does every action.

    Of each of the `people`, one action is for validation, one for testing, and the others are for training;
    `test_new_individual` are all actions of people beside them.
    """
    actions = list(ACTIONS)

    def sequence(person: int, action: str) -> BodySequence:
        return BodySequence(person, action, person >= people, frames, seed, variety, turn)

    splits: dict[str, list[BodySequence]] = {"train": [], "val": [], "test": [], "test_new_individual": []}
    for person in range(people):
        # In turn, so that all actions are validated and tested on some person.
        order = np.roll(actions, -person).tolist()
        splits["val"].append(sequence(person, order[0]))
        splits["test"].append(sequence(person, order[len(order) // 2]))
        chosen = {order[0], order[len(order) // 2]}
        splits["train"] += [sequence(person, action) for action in actions if action not in chosen]
    for person in range(people, people + new_people):
        splits["test_new_individual"] += [sequence(person, action) for action in actions]
    return splits
