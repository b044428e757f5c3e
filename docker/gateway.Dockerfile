# The gateway: service/ and what gateway.lock names. No torch, no model, no weights.
#   docker build -f docker/gateway.Dockerfile -t oflow-gateway .
ARG BASE=python:3.11-slim

FROM ${BASE} AS build
# Before the code, so that a change of the code installs nothing anew.
COPY docker/gateway.lock /tmp/
RUN --mount=type=cache,target=/root/.cache/pip \
    python -m venv --without-pip /opt/venv && \
    pip --python /opt/venv install --no-deps --require-hashes --only-binary :all: -r /tmp/gateway.lock

FROM ${BASE}
# Home is /tmp: the only place that can be written to when the file system is read-only.
RUN useradd --system --uid 10001 --home-dir /tmp --shell /usr/sbin/nologin oflow
RUN printf '#!/bin/sh\nexec python -m service.cli "$@"\n' > /usr/local/bin/oflow && chmod 755 /usr/local/bin/oflow
COPY --from=build /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONPATH=/app \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    OFLOW_HOST=0.0.0.0 \
    OFLOW_PORT=8000
WORKDIR /app
COPY LICENSE NOTICE ./
COPY service/ service/
RUN python -m compileall -q service
USER 10001
EXPOSE 8000
# The process answers. Whether Redis, the object store and a worker do is /readyz: no restart here mends them.
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s \
    CMD ["python", "-c", "import http.client, os, sys; c = http.client.HTTPConnection('127.0.0.1', int(os.environ['OFLOW_PORT']), timeout=4); c.request('GET', '/livez'); sys.exit(c.getresponse().status != 200)"]
CMD ["python", "-m", "service"]
