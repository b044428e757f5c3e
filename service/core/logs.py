"""Logging: one JSON object per line, or plain text for a terminal."""

import logging
import sys
import time

from pythonjsonlogger.json import JsonFormatter

from service.core.settings import Settings
from service.core.trace import current_trace

TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class _OneLine(logging.Formatter):
    """Plain text formatter that escapes line breaks and terminal control sequences."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # logging's name
        if not record.message.isprintable():
            record.message = "".join(map(_escape, record.message))
        return super().formatMessage(record)


def _escape(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode()


class _WithTrace(logging.Filter):
    """Adds the current trace id to every record."""

    def filter(self, record: logging.LogRecord) -> bool:
        trace = current_trace()
        if trace is not None:
            record.trace_id = trace.trace_id
        return True


def configure_logs(settings: Settings) -> None:
    """Log to standard output in the format and at the level of the settings."""
    handler = logging.StreamHandler(sys.stdout)
    handler.addFilter(_WithTrace())
    if settings.log_format == "json":
        names = {"asctime": "time", "levelname": "level", "name": "logger"}
        formatter: logging.Formatter = JsonFormatter(
            "%(asctime)s%(levelname)s%(name)s%(message)s", rename_fields=names, json_ensure_ascii=False
        )
        formatter.default_time_format, formatter.default_msec_format = "%Y-%m-%dT%H:%M:%S", "%s.%03dZ"
    else:
        formatter = _OneLine(TEXT)
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    logging.basicConfig(level=settings.log_level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(True)
    for name in ("httpx", "httpcore", "urllib3"):  # they log URLs: of webhooks, and presigned ones
        logging.getLogger(name).setLevel(logging.WARNING)
