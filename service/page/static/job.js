// One job: followed to its end, then what it made.

import { events, json } from "./api.js";
import { $, bytes, duration, problemBox, show } from "./dom.js";
import { inputOf } from "./inputs.js";
import { showPoints } from "./player.js";
import { leaveResult, showResult } from "./result.js";

const STAGES = {
  fetch: "Reading the points",
  encode: "Encoding",
  extract: "Finding the surface",
  flow: "Carrying it through time",
  simplify: "Simplifying",
  fit: "Measuring the fit",
  write: "Writing files",
  store: "Storing files",
};
let current = null;
let following = null; // aborted when the job is left
const isOpen = (job) => job.state === "queued" || job.state === "running";

export const nameOf = (job) =>
  (typeof job.metadata?.name === "string" && job.metadata.name) || job.id.slice(0, 8);

// Nothing but what was chosen.
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
  $("stage-name").textContent = loaded < total ? "Uploading" : "Looking into the file";
  $("eta").textContent = loaded < total ? `${bytes(loaded)} of ${bytes(total)}` : "";
  if (loaded < total) $("bar").value = (100 * loaded) / total;
  else $("bar").removeAttribute("value");
  $("cancel").disabled = false;
}

// Follow the job of that id; `changed` is called whenever its state has.
export async function showJob(id, changed) {
  leaveJob("Job");
  following = new AbortController();
  const { signal } = following;
  try {
    let job = await json(`/jobs/${id}`, { signal });
    const points = await inputOf(job);
    signal.throwIfAborted();
    render(job);
    if (isOpen(job)) {
      await showPoints(points, "The mesh will play here.");
      watchQueue(id, signal);
      for await (const event of events(id, signal, () => {
        $("eta").textContent = "connection lost, trying again…";
      })) {
        const before = current.state;
        render({ ...current, ...event });
        if (event.state !== before) changed();
      }
      job = await json(`/jobs/${id}`, { signal });
      render(job);
    }
    if (!isOpen(job)) await showResult(job, points, signal);
  } catch (error) {
    if (signal.aborted || error.name === "AbortError") return;
    show($("progress"), false);
    $("job-problem").replaceChildren(problemBox(error));
  }
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

export async function deleteFiles(changed) {
  if (!current || !confirm("Delete the input and the results of this job? This cannot be undone.")) return;
  try {
    const { id } = await json(`/jobs/${current.id}`, { method: "DELETE" });
    await showPoints(null, "The files of this job were deleted.");
    await showJob(id, changed);
    changed();
  } catch (error) {
    $("job-problem").replaceChildren(problemBox(error));
  }
}

// The place in the queue is no event of this job: others move it.
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
  const how = isOpen(job) ? `${Math.round(job.progress.percent)} %` : job.state;
  document.title = `${how} · ${nameOf(job)} · oflow`;
  show($("state"), true);
  show($("copy-link"), navigator.clipboard); // there is none without TLS
  if ($("state").textContent !== job.state) $("state").textContent = job.state; // spoken when it changes
  $("state").dataset.state = job.state;
  show($("progress"), isOpen(job));
  if (isOpen(job)) {
    const { stage, percent, eta_seconds: eta } = job.progress;
    const place = job.queue_position
      ? `Waiting, ${job.queue_position} before this one`
      : "Waiting for a worker";
    const again = job.attempt > 1 ? ` (attempt ${job.attempt})` : "";
    $("stage-name").textContent = job.state === "queued" ? place : (STAGES[stage] ?? stage) + again;
    $("eta").textContent = eta == null ? "" : `about ${duration(eta)} left`;
    if (job.state === "queued") $("bar").removeAttribute("value");
    else $("bar").value = percent;
    $("cancel").disabled = false;
  }
  if (job.state === "failed")
    $("job-problem").replaceChildren(
      problemBox({ title: "The job did not succeed", detail: `${job.error.message} (${job.error.code})` }),
    );
}
