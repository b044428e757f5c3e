"""What schemathesis cannot guess: a file that is a sequence."""

from typing import Any

import schemathesis

from service.page.samples import SAMPLES

SEQUENCE = SAMPLES["knees"].path.read_bytes()


@schemathesis.hook("before_call")
def send_a_sequence(
    context: schemathesis.HookContext, case: schemathesis.Case[Any], kwargs: dict[str, object]
) -> None:
    """As the bare body of valid requests, in place of drawn bytes."""
    bare = case.path == "/reconstruct" and case.media_type == "application/octet-stream"
    if bare and case.meta and case.meta.generation.mode.is_positive:
        case.body = SEQUENCE
