// Choosing a file or a sample, its options, and sending it.

import { json, reconstruct } from "./api.js";
import { $, bytes, element, problemBox, show } from "./dom.js";
import { readSequence } from "./npz.js";
import { showPoints } from "./player.js";

const inputs = new Map(); // SHA-256 of a file → its sequence, or how to get it
let file = null,
  sequence = null,
  limits = null,
  sending = null,
  attempt = { of: "", key: "" };
let hooks;

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
  loadSamples();
}

// Whether there was anything to stop.
export function stopSending() {
  sending?.abort();
  return sending !== null;
}

// The points that a job was made from, where this page has them; null otherwise.
export async function inputOf(job) {
  const found = inputs.get(job.input.sha256);
  return typeof found === "function" ? found() : (found ?? null);
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
    $("model-help").textContent = model
      ? `Reads ${frames}${model.input.corresponding ? " whose points correspond: row j is the same particle in each" : ""}.`
      : "";
  };
  $("model").onchange = tell;
  tell();
}

async function loadSamples() {
  const samples = await json("/page/samples");
  for (const { name, href, description, sha256 } of samples) {
    const canvas = element("canvas", { width: 112, height: 112, "aria-hidden": "true" });
    const button = element(
      "button",
      { type: "button", "aria-pressed": "false" },
      canvas,
      element(
        "span",
        {},
        element("strong", {}, name.replaceAll("_", " ")),
        element("small", {}, description),
      ),
    );
    $("samples").append(button);
    let content;
    const load = () =>
      (content ??= (async () => {
        const blob = await (await fetch(href)).blob();
        const found = new File([blob], `${name}.npz`);
        return { found, points: await readSequence(found) };
      })());
    inputs.set(sha256, async () => (await load()).points);
    button.addEventListener("click", async () => choose((await load()).found, button));
    load()
      .then(({ points }) => sketch(canvas, points))
      .catch(() => {
        content = null;
      });
  }
}

// The points of the first and of the middle frame, as small dots.
function sketch(canvas, { frames }) {
  const pen = canvas.getContext("2d");
  const color = getComputedStyle(canvas).color;
  const reach = Math.max(...frames[0].map(Math.abs)) || 1;
  for (const [frame, alpha, shift] of [
    [frames[0], 0.3, -0.28],
    [frames[frames.length >> 1], 0.95, 0.28],
  ]) {
    Object.assign(pen, { fillStyle: color, globalAlpha: alpha });
    for (let i = 0; i < frame.length; i += 3) {
      const [x, y] = [frame[i] / reach + shift, -frame[i + 1] / reach];
      pen.fillRect(56 + 48 * x, 56 + 48 * y, 2, 2);
    }
  }
}

async function choose(picked, button = null) {
  file = picked;
  sequence = null;
  for (const other of $("samples").children) other.setAttribute("aria-pressed", String(other === button));
  $("form-problem").replaceChildren();
  show($("chosen"), true);
  $("chosen").replaceChildren(element("strong", {}, file.name), ` ${bytes(file.size)}`);
  const small = file.size <= limits.max_upload_bytes;
  $("submit").disabled = !small;
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
  for (const name of ["model", "resolution", "threshold", "simplify", "expires_in"]) {
    const { value } = $("form").elements[name];
    if (value) form.append(name, value);
  }
  if ($("rate").value) form.append($("rate").value, $("rate-value").value);
  if ($("color").checked) form.append("color", "correspondence");
  form.append("metadata", JSON.stringify({ name: file.name }));
  return form;
}

// The file goes to the gateway itself: from there on it is the same path, the same limit and the same page origin.
async function send() {
  const [sent, points, form] = [file, sequence, fields()];
  const of = JSON.stringify([sent.name, sent.size, sent.lastModified, ...form]);
  // After a lost connection the same request goes out under the same key, and makes one job.
  if (attempt.of !== of)
    attempt = {
      of,
      key: Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) =>
        byte.toString(16).padStart(2, "0"),
      ).join(""),
    };
  form.append("file", sent);
  $("form-problem").replaceChildren();
  $("submit").disabled = true;
  sending = new AbortController();
  hooks.sends(sent.name);
  hooks.sending(0, sent.size);
  try {
    const job = await reconstruct(form, attempt.key, hooks.sending, sending.signal);
    attempt = { of: "", key: "" };
    inputs.set(job.input.sha256, points);
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
    $("submit").disabled = false;
  }
}
