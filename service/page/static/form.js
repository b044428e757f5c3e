// The form: files or a sample, options, and submission.

import { reconstruct } from "./api.js";
import { describe, dropped, picked, sortOut } from "./choose.js";
import { curlCommand } from "./curl.js";
import { $, bytes, element, problemBox, show } from "./dom.js";
import { rememberInput } from "./inputs.js";
import { askRate } from "./options.js";
import { planFor, sizeOf } from "./plan.js";
import { showPoints, turnUp } from "./player.js";
import { markSample, offerSamples } from "./samples.js";
import { asPlayed, readSequence } from "./sequence.js";
import { upOf } from "./up.js";

let hooks, service;
let models = [];
let chosen = null; // {files, name, leftOut}
let sequence = null; // its points, if they can be previewed
let sending = null;
let attempt = { fingerprint: "", key: "" };

// `formHooks`: onChoose(name), onSend(name), onProgress(loaded, total), onSent(job), onStop(). `document`: `GET /`.
export function startForm(formHooks, document) {
  [hooks, service] = [formHooks, document];
  for (const id of ["file", "folder"]) {
    $(id).addEventListener("change", () => take($(id)));
    take($(id)); // chosen before the page was ready, or kept by the browser over a reload
  }
  $("choose-folder").addEventListener("click", () => $("folder").click());
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
  $("form").addEventListener("input", review);
  for (const name of ["dragover", "dragleave", "drop"]) {
    addEventListener(name, async (event) => {
      event.preventDefault(); // otherwise the browser opens the file
      $("drop").classList.toggle("over", name === "dragover");
      if (name === "drop" && event.dataTransfer.types.includes("Files"))
        choose(sortOut(await dropped(event.dataTransfer)));
    });
  }
  show($("copy-curl"), navigator.clipboard); // undefined without TLS
  $("copy-curl").addEventListener("click", copyCurl);
  offerSamples((file, text, button) => choose({ files: [file], name: file.name, leftOut: [], text }, button));
}

// Takes over the files of an input element, if there are any.
function take(input) {
  const files = picked(input.files);
  input.value = ""; // allows choosing the same file again after editing it
  if (files.length) choose(sortOut(files));
}

// Returns whether an upload was in progress.
export function stopSending() {
  sending?.abort();
  return sending !== null;
}

export function setModels(list) {
  models = list;
  const hasDefault = models.some((model) => model.default);
  $("model").replaceChildren(
    ...models.map((model) => {
      const note = model.workers ? "" : " (no worker running)";
      return element("option", { value: model.name, selected: model.default }, model.name + note);
    }),
  );
  if (!hasDefault) $("model").prepend(element("option", { value: "", selected: true }, "default"));
  review();
}

const size = () => chosen.files.reduce((sum, file) => sum + file.size, 0);
const isSmall = () => size() <= service.limits.max_upload_bytes;

async function choose(selection, button = null) {
  chosen = selection;
  sequence = null;
  markSample(button);
  $("form-problem").replaceChildren();
  show($("chosen"), true);
  $("chosen").replaceChildren(...(selection.problem ? [] : describe(selection)));
  for (const id of ["ask", "plan"]) show($(id), false);
  for (const id of ["submit", "copy-curl"])
    $(id).disabled = Boolean(selection.problem) || !isSmall() || sending !== null;
  if (selection.problem) return refuse({ title: "This is not one sequence", detail: selection.problem });
  if (!isSmall()) {
    const limit = bytes(service.limits.max_upload_bytes);
    const fault = { key: "file", message: "exceeds the maximum size", found: bytes(size()), wanted: `at most ${limit}` };
    return refuse({ title: "Upload too large", errors: [fault] });
  }
  hooks.onChoose(selection.name);
  const read = await readSequence(selection.files);
  if (chosen !== selection) return;
  sequence = read;
  if (read) {
    $("chosen").append(` · ${sizeOf(read.frames.length, read.points)}`);
    askRate(read.rate);
  }
  review();
  await showPoints(
    timed(),
    "No preview available for these files. Submit them to have them validated by the service.",
    up(),
  );
}

function refuse(problem) {
  const box = problemBox(problem);
  $("form-problem").replaceChildren(box);
  box.focus();
}

const up = () => upOf($("up")?.value, null, sequence);

// The sequence as it will play with the options of the form.
const timed = () => asPlayed(sequence, Object.fromEntries(fields()));

// Tells what will be done with the sequence under the current options, and turns the preview upright.
async function review(event) {
  const model = models.find(({ name }) => name === $("model").value);
  for (const input of $("more-options").querySelectorAll("input[type=number]"))
    if (model && input.name in model) input.placeholder = model[input.name];
  const { min_frames: least, max_frames: most, min_points: points } = model?.input ?? {};
  $("model-help").textContent = model ? `Takes ${least} to ${most} frames of at least ${points} points each.` : "";
  const told = Boolean(sequence && model);
  show($("ask"), sequence);
  show($("plan"), told);
  if (told) {
    const lines = planFor(timed(), model, Object.fromEntries(fields()));
    $("plan").replaceChildren(
      ...lines.map(({ text, wrong }) => element("li", { class: wrong && "wrong" }, text)),
    );
  }
  if (!sequence || !event) return;
  if (event.target.id === "up") turnUp(up());
  if (["fps", "playback_fps", "duration"].includes(event.target.id)) await showPoints(timed(), "", up());
}

// The options of the form, by name.
function fields() {
  return [...new FormData($("form"))].filter(([, value]) => typeof value === "string" && value);
}

async function copyCurl() {
  const command = curlCommand(chosen.files, fields(), service.auth === "keys");
  await navigator.clipboard.writeText(command);
  $("copy-curl").textContent = "Copied";
  setTimeout(() => {
    $("copy-curl").textContent = "Copy as curl";
  }, 2000);
}

async function send() {
  const [upload, points, form] = [chosen, sequence, new FormData()];
  for (const [name, value] of fields()) form.append(name, value);
  form.append("metadata", JSON.stringify({ name: upload.name }));
  const facts = upload.files.map(({ name, size, lastModified }) => [name, size, lastModified]);
  const fingerprint = JSON.stringify([facts, ...form]);
  // Reuse the key when repeating a request after a lost connection, so that it creates only one job.
  if (attempt.fingerprint !== fingerprint) attempt = { fingerprint, key: randomKey() };
  for (const file of upload.files) form.append("file", file);
  $("form-problem").replaceChildren();
  $("submit").disabled = true;
  sending = new AbortController();
  hooks.onSend(upload.name, timed(), up());
  hooks.onProgress(0, size());
  try {
    const job = await reconstruct(form, attempt.key, hooks.onProgress, sending.signal);
    attempt = { fingerprint: "", key: "" };
    if (points) rememberInput(job.input.sha256, () => points); // else they come from the service, which read them
    hooks.onSent(job);
  } catch (error) {
    hooks.onStop();
    if (error.code !== "offline") attempt = { fingerprint: "", key: "" };
    if (error.name !== "AbortError") refuse(error);
  } finally {
    sending = null;
    $("submit").disabled = Boolean(chosen.problem) || !isSmall();
  }
}

// crypto.randomUUID is only available over TLS.
const randomKey = () => String(crypto.getRandomValues(new BigUint64Array(2)));
