"""The public representation of a job, as OpenAPI describes it."""

from service.core.jobs.views import JobView


def test_decisions_are_described() -> None:
    definitions = JobView.model_json_schema()["$defs"]
    undescribed = [
        name for name, field in definitions["Decisions"]["properties"].items() if "description" not in field
    ]
    assert undescribed == []
    assert "not good" in definitions["ResultView"]["properties"]["reasons"]["description"]
