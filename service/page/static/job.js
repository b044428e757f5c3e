// The job panel: progress until the job ends, then its result.

import { events, json } from "./api.js";
import { $, bytes, duration, problemBox, show } from "./dom.js";
import { inputOf } from "./inputs.js";
import { showPoints } from "./player.js";
import { leaveResult, showResult } from "./result.js";
import { upOf } from "./up.js";

const STAGES = {
  fetch: "Reading the points",
  prepare: "Preparing the points",
  register: "Registering the frames",
  encode: "Encoding",
  extract: "Extracting the surface",
  flow: "Propagating through time",
  simplify: "Simplifying",
  fit: "Measuring the fit",
  write: "Writing files",
  store: "Storing files",
};
const UNKNOWN =
  "It was sent with another key, or its record has been deleted, which happens a week after its files. " +
  "Check that the link was copied from the same service.";
const MALFORMED = "A job's link ends in #job= and 32 digits and letters from a to f. Check that it was copied whole.";
let current = null;
let following = null; // aborted when the job is left
const isOpen = (job) => job.state === "queued" || job.state === "running";

export const nameOf = (job) =>
  (typeof job.metadata?.name === "string" && job.metadata.name) || job.input?.name || job.id.slice(0, 8);

// Resets the panel to a preview.
export function leaveJob(title = "Preview") {
  following?.abort();
  [current, following] = [null, null];
  $("job-title").textContent = title;
  document.title = "oflow";
  for (const id of ["state", "progress", "copy-link"]) show($(id), false);
  leaveResult();
  $("job-problem").replaceChildren();
}

export function showUpload(loaded, total) {
  show($("progress"), true);
  $("stage-name").textContent = loaded < total ? "Uploading" : "Validating the file";
  $("eta").textContent = loaded < total ? `${bytes(loaded)} of ${bytes(total)}` : "";
  if (loaded < total) $("bar").value = (100 * loaded) / total;
  else $("bar").removeAttribute("value");
  $("cancel").disabled = false;
}

// Shows a job and follows it until it ends; calls `onChange` when its state changes.
export async function showJob(id, onChange) {
  leaveJob("Job");
  following = new AbortController();
  const { signal } = following;
  try {
    let job = await json(`/jobs/${id}`, { signal });
    render(job);
    const points = await inputOf(job, signal);
    signal.throwIfAborted();
    if (isOpen(job)) {
      await showPoints(points, "The mesh will appear here.", upOf(job.options.up, null, points));
      watchQueue(id, signal);
      for await (const event of events(id, signal, () => {
        $("eta").textContent = "connection lost, reconnecting…";
      })) {
        const before = current.state;
        render({ ...current, ...event });
        if (event.state !== before) onChange();
      }
      job = await json(`/jobs/${id}`, { signal });
      render(job);
    }
    if (!isOpen(job)) await showResult(job, points, signal);
  } catch (error) {
    if (signal.aborted || error.name === "AbortError") return;
    show($("progress"), false);
    const known = error.code === "not_found" ? { title: "There is no such job", detail: UNKNOWN } : error;
    $("job-problem").replaceChildren(problemBox(known));
    if (known !== error) await showPoints(null, "");
  }
}

// Tells that a link does not name a job.
export async function showBadLink() {
  leaveJob("Job");
  $("job-problem").replaceChildren(problemBox({ title: "This link does not lead to a job", detail: MALFORMED }));
  await showPoints(null, "");
}

export async function cancel() {
  if (!current) return;
  $("cancel").disabled = true;
  try {
    render(await json(`/jobs/${current.id}`, { method: "DELETE" }));
  } catch (error) {
    $("cancel").disabled = false;
    $("job-problem").replaceChildren(problemBox(error));
  }
}

export async function deleteFiles(onChange) {
  if (!current || !confirm("Delete the input and results of this job? This cannot be undone.")) return;
  try {
    const { id } = await json(`/jobs/${current.id}`, { method: "DELETE" });
    await showPoints(null, "The files of this job have been deleted.");
    await showJob(id, onChange);
    onChange();
  } catch (error) {
    $("job-problem").replaceChildren(problemBox(error));
  }
}

// The queue position changes without an event of this job, so it is polled.
async function watchQueue(id, signal) {
  while (!signal.aborted && current?.state === "queued") {
    const job = await json(`/jobs/${id}`, { signal }).catch(() => null);
    if (job?.state === "queued" && current?.id === id && current.state === "queued") render(job);
    await new Promise((resolve) => setTimeout(resolve, 2000));
  }
}

function render(job) {
  current = job;
  $("job-title").textContent = nameOf(job);
  const status = isOpen(job) ? `${Math.round(job.progress.percent)} %` : job.state;
  document.title = `${status} · ${nameOf(job)} · oflow`;
  show($("state"), true);
  show($("copy-link"), navigator.clipboard); // undefined without TLS
  if ($("state").textContent !== job.state) $("state").textContent = job.state; // announced on each write
  $("state").dataset.state = job.state;
  show($("progress"), isOpen(job));
  if (isOpen(job)) {
    const { stage, percent, eta_seconds: eta } = job.progress;
    const ahead = job.queue_position;
    const waiting = ahead ? `Queued, ${ahead} ${ahead === 1 ? "job" : "jobs"} ahead` : "Waiting for a worker";
    const attempt = job.attempt > 1 ? ` (attempt ${job.attempt})` : "";
    $("stage-name").textContent = job.state === "queued" ? waiting : (STAGES[stage] ?? stage) + attempt;
    $("eta").textContent = eta == null ? "" : `about ${duration(eta)} left`;
    if (job.state === "queued") $("bar").removeAttribute("value");
    else $("bar").value = percent;
    $("cancel").disabled = false;
  }
  if (job.state === "failed")
    $("job-problem").replaceChildren(
      problemBox({ title: "Job failed", detail: `${job.error.message} (${job.error.code})` }),
    );
}
