# The worker: model/, worker/, the weights in configs/, and the part of service/ that both sides share.
#   docker build -f docker/worker.Dockerfile --target cpu  -t oflow-worker .
#   docker build -f docker/worker.Dockerfile --target cuda -t oflow-worker-gpu .
# With `--build-arg EXTRA=train` it can train and evaluate as well; without, those commands say what is missing.
# torch comes by hash from torch.lock. PyPI has no build for Linux without CUDA: it runs on a CPU, but is gigabytes
# larger. `make torch-lock TORCH_INDEX=…` locks another build; TORCH_INDEX here takes one without checking hashes.
ARG BASE=python:3.11-slim

FROM ${BASE} AS build
# Before the code, so that a change of the code installs nothing anew.
ARG EXTRA=worker
COPY docker/${EXTRA}.lock docker/torch.lock /tmp/
RUN --mount=type=cache,target=/root/.cache/pip \
    python -m venv --without-pip /opt/venv && \
    pip --python /opt/venv install --no-deps --require-hashes --only-binary :all: -r /tmp/${EXTRA}.lock
ARG TORCH_INDEX=
RUN --mount=type=cache,target=/root/.cache/pip \
    if [ -n "${TORCH_INDEX}" ]; then \
        grep -o '^torch==[^ ]*' /tmp/torch.lock > /tmp/version && \
        pip --python /opt/venv install --only-binary :all: --index-url "${TORCH_INDEX}" -r /tmp/version; \
    else \
        pip --python /opt/venv install --only-binary :all: --no-deps --require-hashes -r /tmp/torch.lock; \
    fi

FROM ${BASE} AS worker
# Home is /tmp: the only place that can be written to when the file system is read-only.
RUN useradd --system --uid 10001 --home-dir /tmp --shell /usr/sbin/nologin oflow
RUN printf '#!/bin/sh\nexec python -m worker "$@"\n' > /usr/local/bin/worker && chmod 755 /usr/local/bin/worker
COPY --from=build /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONPATH=/app \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
WORKDIR /app
COPY LICENSE NOTICE ./
COPY configs/ configs/
COPY model/ model/
COPY service/__init__.py service/
COPY service/core/ service/core/
COPY worker/ worker/
RUN python -m compileall -q model service worker
USER 10001
# Hands the running job back to the queue at once, and ends.
STOPSIGNAL SIGTERM
# This container's worker is up, reaches Redis and beats in the registry. The start takes an import of torch.
HEALTHCHECK --interval=15s --timeout=10s --start-period=120s CMD ["python", "-m", "worker.serving.health"]
CMD ["worker", "serve"]

# torch's CUDA wheels bring cuBLAS, cuDNN and the rest along; the host's NVIDIA runtime adds the driver. So the
# base stays the slim one: a CUDA base image would hold all of it a second time.
FROM worker AS cuda
RUN python -c "import sys, torch; torch.version.cuda or sys.exit(f'torch {torch.__version__} has no CUDA: give TORCH_INDEX a CUDA build')"
# Rather no worker than a slow one that nobody notices: without a GPU it refuses to start.
ENV OFLOW_DEVICE=cuda \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility

FROM worker AS cpu
RUN python -c "import torch; torch.version.cuda and print(f'Advice: torch {torch.__version__} carries CUDA, gigabytes that this image does not need. Give TORCH_INDEX the index of the CPU builds.')"
ENV OFLOW_DEVICE=cpu
