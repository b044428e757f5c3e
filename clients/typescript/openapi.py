"""Print the OpenAPI document of a gateway that asks for keys."""

import json
import sys

from pydantic import SecretStr

from service.api.app import create_app
from service.core.settings import Settings

settings = Settings(redis_url=SecretStr("redis://127.0.0.1"), auth="keys")
json.dump(create_app(settings).openapi(), sys.stdout)
