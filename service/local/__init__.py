"""Run the whole service on one machine without Docker or root: Redis, object store, workers and gateway.

python -m service.local up      run the stack in the foreground
python -m service.local demo    start the stack, process samples through the HTTP API, and stop
"""
