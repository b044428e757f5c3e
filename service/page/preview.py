"""Open Graph metadata of a job's link, which chats and social networks show: https://ogp.me."""

from html import escape

from service.core.jobs.record import Job, State


def link_preview(job: Job, base: str) -> str:
    """`meta` elements with the job's name, verdict and picture. `base` is the gateway's address."""
    name = job.metadata.get("name")
    values = {
        "og:type": "website",
        "og:site_name": "oflow",
        "og:title": name[:200] if isinstance(name, str) and name else f"Job {job.id[:8]}",
        "og:description": _describe(job),
        "og:url": f"{base}?job={job.id}",
    }
    if job.result is not None and job.result.thumbnail is not None and job.state is State.SUCCEEDED:
        values["og:image"] = f"{base}jobs/{job.id}/thumbnail"
        values["twitter:card"] = "summary_large_image"
    return "".join(
        f'  <meta property="{property_}" content="{escape(value)}">\n' for property_, value in values.items()
    )


def _describe(job: Job) -> str:
    if job.result is None:
        return f"A reconstruction of {job.input.frames} frames: {job.state}."
    mesh, verdict = job.result.mesh, job.result.verdict or "not judged"
    return f"An animated mesh of {mesh.frames} frames and {mesh.vertices:,} vertices. Verdict: {verdict}."
