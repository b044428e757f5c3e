import subprocess
import sys
from typing import Any

import pytest
from pydantic import ValidationError

from service.core.settings import Settings

SAFE: dict[str, Any] = {
    "redis_url": "redis://:hush-hush@127.0.0.1:6379/0",
    "s3_endpoint_url": "http://127.0.0.1:8333",
    "s3_access_key_id": "key",
    "s3_secret_access_key": "hush-hush",
}


def test_loopback_needs_only_the_urls() -> None:
    settings = Settings(**SAFE)
    assert settings.host == "127.0.0.1"
    assert "hush-hush" not in repr(settings)


@pytest.mark.parametrize(
    ("unsafe", "message"),
    [
        ({"host": "0.0.0.0", "auth": "open"}, "OFLOW_HOST is '0.0.0.0': without keys"),
        ({"host": "0.0.0.0"}, "OFLOW_HOST is '0.0.0.0': without a TLS proxy"),
        (
            {"redis_url": "redis://:secret@cache.example:6379/0"},
            "OFLOW_REDIS_URL connects to 'cache.example' unencrypted",
        ),
        (
            {"broker_url": "amqp://u:p@rabbit.example//"},
            "OFLOW_BROKER_URL connects to 'rabbit.example' unencrypted",
        ),
        (
            {"redis_url": "rediss://:secret@cache.example:6379/0?ssl_cert_reqs=none"},
            "OFLOW_REDIS_URL turns the verification of certificates off",
        ),
        (
            {"broker_url": "rediss://:secret@cache.example:6379/0?ssl_check_hostname=False"},
            "OFLOW_BROKER_URL turns the verification of certificates off",
        ),
        (
            {"s3_endpoint_url": "http://store.example"},
            "OFLOW_S3_ENDPOINT_URL connects to 'store.example' unencrypted",
        ),
    ],
)
def test_unsafe_settings_beyond_loopback_require_a_trusted_network(
    unsafe: dict[str, str], message: str
) -> None:
    with pytest.raises(ValidationError, match="OFLOW_TRUSTED_NETWORK") as refusal:
        Settings(**SAFE | unsafe)
    assert message in str(refusal.value)
    Settings(**SAFE | unsafe, trusted_network=True)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"redis_url": "rediss://cache.example:6379/0"}, "without a password"),
        ({"s3_secret_access_key": None}, "set both OFLOW_S3_ACCESS_KEY_ID and OFLOW_S3_SECRET_ACCESS_KEY"),
        ({"s3_access_key_id": ""}, "must not be empty"),
        ({"auth": "none"}, "auth"),
        ({"port": 0}, "port"),
        ({"webhook_secret": "short"}, "at least 32 characters"),
        ({"webhook_loopback": True, "host": "0.0.0.0"}, "requires a loopback address"),
        ({"redis_url": "redis://:hush/hush@127.0.0.1:6379/0"}, "is not a valid URL"),
        ({"redis_url": "redis://:x@127.0.0.1:hush/0"}, "is not a valid URL"),
    ],
)
def test_invalid_settings_are_refused_even_in_a_trusted_network(
    wrong: dict[str, object], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        Settings(**SAFE | wrong, trusted_network=True)


def test_invalid_settings_exit_without_traceback() -> None:
    environment = {"OFLOW_REDIS_URL": "redis://127.0.0.1/0", "OFLOW_PORT": "eighty", "OFLOW_AUTH": "none"}
    done = subprocess.run([sys.executable, "-m", "service"], env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert "OFLOW_PORT: found 'eighty', wanted a whole number" in done.stderr
    assert "OFLOW_AUTH: found 'none', wanted 'keys' or 'open'" in done.stderr
    assert "Traceback" not in done.stderr


def test_model_name_of_a_config_file_is_its_stem() -> None:
    assert Settings(**SAFE).model_name == "local_oflow"
    assert Settings(**SAFE, model="/models/cats.yaml").model_name == "cats"
