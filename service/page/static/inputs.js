// Input sequences available to this page by hash: the samples, and files submitted from here.

import { json } from "./api.js";
import { $, element } from "./dom.js";
import { readSequence } from "./npz.js";

const inputs = new Map(); // SHA-256 of a file → function returning its sequence

export const rememberInput = (job, points) => inputs.set(job.input.sha256, () => points);

// The input points of a job if available, otherwise null.
export const inputOf = async (job) => (await inputs.get(job.input.sha256)?.()) ?? null;

export function markSample(chosen) {
  for (const button of $("samples").children) button.setAttribute("aria-pressed", String(button === chosen));
}

// Adds a button for each sample; `choose` is called with the file and the button.
export async function offerSamples(choose) {
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
        const file = new File([blob], `${name}.npz`);
        return { file, points: await readSequence(file) };
      })());
    inputs.set(sha256, async () => (await load()).points);
    button.addEventListener("click", async () => choose((await load()).file, button));
    load()
      .then(({ points }) => sketch(canvas, points))
      .catch(() => {
        content = null;
      });
  }
}

// Draws the points of the first and the middle frame side by side, as large as they fit.
function sketch(canvas, { frames }) {
  const pen = canvas.getContext("2d");
  const shift = 0.28 * Math.max(...frames[0].map(Math.abs));
  const shown = [
    [frames[0], 0.3, -shift],
    [frames[frames.length >> 1], 0.95, shift],
  ];
  const [low, high] = [
    [Infinity, Infinity],
    [-Infinity, -Infinity],
  ];
  for (const [frame, , offset] of shown)
    for (let i = 0; i < frame.length; i += 3)
      [frame[i] + offset, -frame[i + 1]].forEach((value, axis) => {
        low[axis] = Math.min(low[axis], value);
        high[axis] = Math.max(high[axis], value);
      });
  const scale = 100 / Math.max(high[0] - low[0], high[1] - low[1], 1e-9);
  const place = (value, axis) => 55 + scale * (value - (low[axis] + high[axis]) / 2);
  pen.fillStyle = getComputedStyle(canvas).color;
  for (const [frame, alpha, offset] of shown) {
    pen.globalAlpha = alpha;
    for (let i = 0; i < frame.length; i += 3)
      pen.fillRect(place(frame[i] + offset, 0), place(-frame[i + 1], 1), 2, 2);
  }
}
