"""The whole service on one machine without Docker or root: Redis, an object store, workers and the gateway.

python -m service.local up      keeps the stack running in the foreground
python -m service.local demo    sends a sample through it, as any client would, and stops it again
"""
