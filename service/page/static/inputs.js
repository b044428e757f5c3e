// Input points of jobs: from the samples, from files sent from here, else from the service.

import { request } from "./api.js";
import { MAX_BYTES, readSequence } from "./sequence.js";

const known = new Map(); // SHA-256 of an upload → function returning its sequence

export const rememberInput = (sha256, read) => known.set(sha256, read);

// The input points of a job, or null if they cannot be shown.
export async function inputOf(job, signal) {
  const read = known.get(job.input.sha256);
  if (read) return read();
  if (job.state === "expired" || job.input.bytes > MAX_BYTES) return null;
  try {
    const response = await request(`/jobs/${job.id}/input`, { headers: { Accept: "*/*" }, signal });
    const disposition = response.headers.get("Content-Disposition") ?? "";
    const name = /filename="([^"]+)"/.exec(disposition)?.[1] ?? "input";
    const sequence = await readSequence([new File([await response.blob()], name)]);
    rememberInput(job.input.sha256, () => sequence);
    return sequence;
  } catch (error) {
    if (error.name === "AbortError") throw error;
    return null; // the result can be shown without it
  }
}
