"""One of the processes that torchrun starts in a test: trains the tiny network on turning balls.

python -m torch.distributed.run --nproc-per-node 2 -m tests.worker.training_process CONFIG.yaml
"""

import sys

import torch

from model.config.schema import load_config
from tests.worker.training_data import Balls
from worker.processes import join_processes, leave_processes
from worker.training.stopping import Stop
from worker.training.trainer import Trainer

if __name__ == "__main__":
    torch.set_num_threads(1)
    processes, device = join_processes("cpu")
    Trainer(load_config(sys.argv[1]), device, processes, (Balls(), Balls())).run(Stop())
    leave_processes(processes)
