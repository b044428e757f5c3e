"""A model of bodies and the sample that it is tested on."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from model import Reconstructor
from service.page.samples import SAMPLES


@pytest.fixture(scope="session")
def rec() -> Reconstructor:
    return Reconstructor.from_config("bodies")


@pytest.fixture(scope="session")
def cloud() -> NDArray[Any]:
    with np.load(SAMPLES["knees"].path) as arrays:
        return arrays["points"].astype(np.float64)  # [17, 300, 3]
