"""After a warm-up, a job meets no kernel that is not compiled."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
SCRIPT = """
import sys
import numpy as np
from numba.core.registry import CPUDispatcher
from model import Reconstructor
from model.reconstruction.warm_up import warm_up

def compiled():
    modules = [module for name, module in sys.modules.items() if name.startswith("model.")]
    found = {id(kernel): kernel for module in modules for kernel in vars(module).values()}
    return {k.py_func.__qualname__: len(k.signatures) for k in found.values() if isinstance(k, CPUDispatcher)}

reconstructor = Reconstructor.from_config("local_oflow", device="cpu")
warm_up(reconstructor)
before = compiled()
walker = np.load("service/page/samples/walker.npz")
frames = np.split(walker["points"], np.cumsum(walker["lengths"])[:-1])
reconstructor(frames[:3], resolution=32)
reconstructor(np.load("service/page/samples/knees.npz")["points"][:5], resolution=32)
assert sum(before.values()) > 10, before
assert compiled() == before
"""


def test_nothing_is_left_to_compile() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=ROOT, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stderr
