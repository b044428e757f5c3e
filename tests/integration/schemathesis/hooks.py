"""Schemathesis hooks that supply valid sequence files, which cannot be generated from the schema."""

from typing import Any

import schemathesis

from service.page.samples import SAMPLES

SEQUENCE = SAMPLES["knees"].path.read_bytes()


@schemathesis.hook("before_call")
def send_a_sequence(
    context: schemathesis.HookContext, case: schemathesis.Case[Any], kwargs: dict[str, object]
) -> None:
    """Make valid requests acceptable: a real file as raw body, and a query of options only beside it."""
    if case.path == "/reconstruct" and case.meta and case.meta.generation.mode.is_positive:
        case.freeze_metadata()  # or what is changed here is taken for a violation of the schema
        if case.media_type == "application/octet-stream":
            case.body = SEQUENCE
            case.query.pop("model", None)  # hardly any generated name is one
            if "frames" in case.query:
                case.query.pop("fps", None)
        else:
            case.query.clear()
