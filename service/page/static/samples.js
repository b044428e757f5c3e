// The samples, as buttons with a picture.

import { json } from "./api.js";
import { $, element } from "./dom.js";
import { rememberInput } from "./inputs.js";
import { readSequence } from "./sequence.js";
import { direction, guessUp } from "./up.js";

export function markSample(chosen) {
  for (const button of $("samples").children) button.setAttribute("aria-pressed", String(button === chosen));
}

// Adds a button for each sample; `choose` is called with the file, its description and the button.
export async function offerSamples(choose) {
  const samples = await json("/page/samples");
  for (const { name, href, description, sha256 } of samples) {
    const canvas = element("canvas", { width: 112, height: 112, "aria-hidden": "true" });
    const button = element(
      "button",
      { type: "button", "aria-pressed": "false", title: description },
      canvas,
      element("strong", {}, name.replaceAll("_", " ")),
    );
    $("samples").append(button);
    let content;
    const load = () =>
      (content ??= (async () => {
        const blob = await (await fetch(href)).blob();
        const file = new File([blob], `${name}.npz`);
        return { file, points: await readSequence([file]) };
      })());
    rememberInput(sha256, async () => (await load()).points);
    button.addEventListener("click", async () => choose((await load()).file, description, button));
    load()
      .then(({ points }) => sketch(canvas, points))
      .catch(() => {
        content = null;
      });
  }
}

// Draws the points of the first and the middle frame side by side, as large as they fit.
function sketch(canvas, sequence) {
  const pen = canvas.getContext("2d");
  const { frames } = sequence;
  const up = direction(guessUp(sequence)).indexOf(1);
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
      [frame[i] + offset, -frame[i + up]].forEach((value, axis) => {
        low[axis] = Math.min(low[axis], value);
        high[axis] = Math.max(high[axis], value);
      });
  const scale = 100 / Math.max(high[0] - low[0], high[1] - low[1], 1e-9);
  const place = (value, axis) => 55 + scale * (value - (low[axis] + high[axis]) / 2);
  pen.fillStyle = getComputedStyle(canvas).color;
  for (const [frame, alpha, offset] of shown) {
    pen.globalAlpha = alpha;
    for (let i = 0; i < frame.length; i += 3)
      pen.fillRect(place(frame[i] + offset, 0), place(-frame[i + up], 1), 2, 2);
  }
}
