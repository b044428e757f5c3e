// The form: file or sample, options, and submission.

import { reconstruct } from "./api.js";
import { $, bytes, element, problemBox, show } from "./dom.js";
import { markSample, offerSamples, rememberInput } from "./inputs.js";
import { readSequence } from "./npz.js";
import { showPoints } from "./player.js";

let hooks, limits;
let file = null;
let sequence = null; // its points, if they can be previewed
let sending = null;
let attempt = { fingerprint: "", key: "" };

// `formHooks`: onChoose(name), onSend(name), onProgress(loaded, total), onSent(job), onStop().
export function startForm(formHooks, serviceLimits) {
  [hooks, limits] = [formHooks, serviceLimits];
  $("file").addEventListener("change", () => {
    const [picked] = $("file").files;
    $("file").value = ""; // allows choosing the same file again after editing it
    if (picked) choose(picked);
  });
  // The browser can only report an invalid field if it is visible.
  $("form").addEventListener(
    "invalid",
    (event) => {
      if ($("more").contains(event.target)) $("more").open = true;
    },
    true,
  );
  $("form").addEventListener("submit", (event) => {
    event.preventDefault();
    send();
  });
  for (const name of ["dragover", "dragleave", "drop"]) {
    addEventListener(name, (event) => {
      event.preventDefault(); // otherwise the browser opens the file
      $("drop").classList.toggle("over", name === "dragover");
      if (name === "drop" && event.dataTransfer.files[0]) choose(event.dataTransfer.files[0]);
    });
  }
  offerSamples(choose);
}

// Returns whether an upload was in progress.
export function stopSending() {
  sending?.abort();
  return sending !== null;
}

export function setModels(models) {
  const hasDefault = models.some((model) => model.default);
  $("model").replaceChildren(
    ...models.map((model) => {
      const note = model.workers ? "" : " (no worker running)";
      return element("option", { value: model.name, selected: model.default }, model.name + note);
    }),
  );
  if (!hasDefault) $("model").prepend(element("option", { value: "", selected: true }, "default"));
  const describe = () => {
    const model = models.find(({ name }) => name === $("model").value);
    for (const input of $("more-options").querySelectorAll("input")) {
      if (model && input.name in model) input.placeholder = model[input.name];
    }
    const { min_frames: least, max_frames: most, min_points: points } = model?.input ?? {};
    $("model-help").textContent = model
      ? `Expects ${least} to ${most} frames of at least ${points} points each.`
      : "";
  };
  $("model").onchange = describe;
  describe();
}

async function choose(picked, button = null) {
  file = picked;
  sequence = null;
  markSample(button);
  $("form-problem").replaceChildren();
  show($("chosen"), true);
  $("chosen").replaceChildren(element("strong", {}, file.name), ` ${bytes(file.size)}`);
  const small = file.size <= limits.max_upload_bytes;
  $("submit").disabled = !small || sending !== null;
  if (!small) {
    const fault = {
      key: "file",
      message: "exceeds the maximum size",
      found: bytes(file.size),
      wanted: `at most ${bytes(limits.max_upload_bytes)}`,
    };
    $("form-problem").replaceChildren(problemBox({ title: "Upload too large", errors: [fault] }));
    return;
  }
  hooks.onChoose(file.name);
  const read = await readSequence(file);
  if (file !== picked) return;
  sequence = read;
  if (read) {
    const counts = [...new Set(read.points)].map((count) => count.toLocaleString("en"));
    $("chosen").append(` · ${read.frames.length} frames of ${counts.join(" to ")} points`);
  }
  await showPoints(
    read,
    "No preview available for this file. Submit it to have it validated by the service.",
  );
}

function fields() {
  const form = new FormData();
  for (const [name, value] of new FormData($("form"))) if (value) form.append(name, value);
  form.append("metadata", JSON.stringify({ name: file.name }));
  return form;
}

async function send() {
  const [upload, points, form] = [file, sequence, fields()];
  const fingerprint = JSON.stringify([upload.name, upload.size, upload.lastModified, ...form]);
  // Reuse the key when repeating a request after a lost connection, so that it creates only one job.
  if (attempt.fingerprint !== fingerprint) attempt = { fingerprint, key: randomKey() };
  form.append("file", upload);
  $("form-problem").replaceChildren();
  $("submit").disabled = true;
  sending = new AbortController();
  hooks.onSend(upload.name);
  hooks.onProgress(0, upload.size);
  try {
    const job = await reconstruct(form, attempt.key, hooks.onProgress, sending.signal);
    attempt = { fingerprint: "", key: "" };
    rememberInput(job, points);
    hooks.onSent(job);
  } catch (error) {
    hooks.onStop();
    if (error.code !== "offline") attempt = { fingerprint: "", key: "" };
    if (error.name === "AbortError") return;
    const box = problemBox(error);
    $("form-problem").replaceChildren(box);
    box.focus();
  } finally {
    sending = null;
    $("submit").disabled = file.size > limits.max_upload_bytes;
  }
}

// crypto.randomUUID is only available over TLS.
const randomKey = () => String(crypto.getRandomValues(new BigUint64Array(2)));
