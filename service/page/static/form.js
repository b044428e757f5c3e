// Choosing a file or a sample, its options, and sending it.

import { reconstruct } from "./api.js";
import { $, bytes, element, problemBox, show } from "./dom.js";
import { markSample, offerSamples, rememberInput } from "./inputs.js";
import { readSequence } from "./npz.js";
import { showPoints } from "./player.js";

let hooks, limits;
let file = null;
let sequence = null; // what could be read of it
let sending = null;
let attempt = { of: "", key: "" };

// `hooks`: chosen(name), sends(name), sending(loaded, total), sent(job), stopped().
export function startForm(given, most) {
  [hooks, limits] = [given, most];
  $("file").addEventListener("change", () => {
    const [picked] = $("file").files;
    $("file").value = ""; // so that the same file, changed, can be chosen again
    if (picked) choose(picked);
  });
  // A field that is wrong has to be in view, or the browser can say nothing about it.
  $("form").addEventListener(
    "invalid",
    (event) => {
      if ($("more").contains(event.target)) $("more").open = true;
    },
    true,
  );
  $("rate").addEventListener("change", () => {
    const chosen = $("rate").value;
    show($("rate-value"), chosen);
    Object.assign($("rate-value"), {
      disabled: !chosen,
      min: chosen === "fps" ? 0.001 : 2,
      step: chosen === "fps" ? "any" : 1,
    });
    $("rate-value").setAttribute("aria-label", chosen === "fps" ? "Frames per second" : "Number of frames");
  });
  $("form").addEventListener("submit", (event) => {
    event.preventDefault();
    send();
  });
  for (const name of ["dragover", "dragleave", "drop"]) {
    addEventListener(name, (event) => {
      event.preventDefault(); // or the browser would open the file
      $("drop").classList.toggle("over", name === "dragover");
      if (name === "drop" && event.dataTransfer.files[0]) choose(event.dataTransfer.files[0]);
    });
  }
  offerSamples(choose);
}

// Whether there was anything to stop.
export function stopSending() {
  sending?.abort();
  return sending !== null;
}

export function setModels(models) {
  const usual = models.find((model) => model.default);
  $("model").replaceChildren(
    ...models.map((model) => {
      const busy = model.workers ? "" : " (no worker now)";
      return element("option", { value: model.name, selected: model.default }, model.name + busy);
    }),
  );
  if (!usual) $("model").prepend(element("option", { value: "", selected: true }, "the server's choice"));
  const tell = () => {
    const model = models.find(({ name }) => name === $("model").value);
    $("resolution").placeholder = model?.resolution ?? "the model's";
    $("threshold").placeholder = model?.threshold ?? "the model's";
    const frames = model?.input.frames ? `${model.input.frames} frames` : "any number of frames";
    const rows = model?.input.corresponding
      ? " whose points correspond: row j is the same particle in each"
      : "";
    $("model-help").textContent = model ? `Reads ${frames}${rows}.` : "";
  };
  $("model").onchange = tell;
  tell();
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
      message: "is larger than this service takes",
      found: bytes(file.size),
      wanted: `at most ${bytes(limits.max_upload_bytes)}`,
    };
    $("form-problem").replaceChildren(problemBox({ title: "The upload is too large", errors: [fault] }));
    return;
  }
  hooks.chosen(file.name);
  const read = await readSequence(file);
  if (file !== picked) return;
  sequence = read;
  if (read)
    $("chosen").append(` · ${read.frames.length} frames of ${read.points.toLocaleString("en")} points`);
  await showPoints(
    read,
    "The points of this file cannot be shown here. Send it to hear what the service makes of it.",
  );
}

function fields() {
  const form = new FormData();
  for (const { value } of document.querySelectorAll("[name=formats]:checked")) form.append("formats", value);
  for (const name of ["model", "resolution", "threshold", "simplify", "quality", "expires_in"]) {
    const { value } = $("form").elements[name];
    if (value) form.append(name, value);
  }
  if ($("rate").value) form.append($("rate").value, $("rate-value").value);
  if ($("color").checked) form.append("color", "correspondence");
  form.append("metadata", JSON.stringify({ name: file.name }));
  return form;
}

async function send() {
  const [sent, points, form] = [file, sequence, fields()];
  const of = JSON.stringify([sent.name, sent.size, sent.lastModified, ...form]);
  // After a lost connection the same request goes out under the same key, and makes one job.
  if (attempt.of !== of) attempt = { of, key: randomWord() };
  form.append("file", sent);
  $("form-problem").replaceChildren();
  $("submit").disabled = true;
  sending = new AbortController();
  hooks.sends(sent.name);
  hooks.sending(0, sent.size);
  try {
    const job = await reconstruct(form, attempt.key, hooks.sending, sending.signal);
    attempt = { of: "", key: "" };
    rememberInput(job, points);
    hooks.sent(job);
  } catch (error) {
    hooks.stopped();
    if (error.code !== "offline") attempt = { of: "", key: "" };
    if (error.name === "AbortError") return;
    const box = problemBox(error);
    $("form-problem").replaceChildren(box);
    box.focus();
  } finally {
    sending = null;
    $("submit").disabled = file.size > limits.max_upload_bytes;
  }
}

// crypto.randomUUID, which there is only under TLS.
const randomWord = () => String(crypto.getRandomValues(new BigUint64Array(2)));
