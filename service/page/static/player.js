// The 3D view and its playback. three.js is loaded on first use.

import { startDisplay } from "./display.js";
import { $, show } from "./dom.js";

let viewer, loading, updateDisplay;
let latest = 0; // number of the latest request; results of earlier ones are discarded
let playing = false;
let time = 0;
let lastTick = 0;
const listeners = new Set();

export const onTime = (listener) => listeners.add(listener);

// Shows the points of a sequence from sequence.js, or `message` if there are none.
export const showPoints = (sequence, message, up = "y", isResult = false) =>
  present(null, sequence, message, { up, isResult });

// Shows the GLB of a job, with its input points if available. `facts`: the axis `up`, `most`, the distance at the
// end of the heat map, and whether it `isResult`.
export const showMesh = (glb, sequence, facts) => present(glb, sequence, "", facts);

// Turns what is shown so that another axis points up.
export function turnUp(up) {
  if (viewer) updateDisplay({ up });
}

async function present(glb, sequence, message, facts) {
  const request = ++latest;
  $("empty").textContent = message;
  const hasContent = Boolean(glb || sequence);
  if ((!hasContent && !viewer) || !(await ready())) return;
  const mesh = glb && (await viewer.parse(glb));
  if (request !== latest) return;
  viewer.show(mesh, sequence);
  show($("canvas"), hasContent);
  show($("empty"), !hasContent);
  show($("controls"), hasContent);
  $("canvas").setAttribute(
    "aria-label",
    mesh ? "Animation of the reconstructed mesh" : "Animation of the input points",
  );
  $("scrub").max = viewer.duration;
  updateDisplay({ mesh: Boolean(mesh), points: Boolean(sequence), colors: viewer.hasColors, ...facts });
  seek(0);
  setPlaying(hasContent && !matchMedia("(prefers-reduced-motion: reduce)").matches);
}

async function ready() {
  loading ??= import("./viewer.js").then(({ Viewer }) => {
    viewer = new Viewer($("canvas"));
    updateDisplay = startDisplay(viewer);
  });
  try {
    await loading;
  } catch {
    loading = null;
    $("empty").textContent = "The 3D view requires WebGL. Jobs and downloads work without it.";
  }
  return Boolean(viewer);
}

const frameAt = (seconds) => Math.max(0, viewer.times.findLastIndex((start) => start <= seconds + 1e-9));

function seek(seconds) {
  time = seconds;
  viewer.seek(time);
  const frame = frameAt(time) + 1;
  const count = viewer.times.length;
  $("scrub").value = time;
  $("clock").textContent = `${time.toFixed(viewer.duration < 10 ? 2 : 1)} s · ${frame}/${count}`;
  $("scrub").setAttribute("aria-valuetext", `${time.toFixed(2)} seconds, frame ${frame} of ${count}`);
  for (const listener of listeners) listener(viewer.duration ? time / viewer.duration : 0);
}

function setPlaying(now) {
  if (now && !playing)
    requestAnimationFrame((stamp) => {
      lastTick = stamp;
      tick(stamp);
    });
  playing = now;
  $("play").setAttribute("aria-label", now ? "Pause" : "Play");
  $("play").classList.toggle("playing", now);
}

function tick(stamp) {
  if (!playing) return;
  const next = time + (Number($("speed").value) * (stamp - lastTick)) / 1000;
  lastTick = stamp;
  const ends = next >= viewer.duration && !$("loop").checked;
  seek(ends ? viewer.duration : viewer.duration ? next % viewer.duration : 0);
  if (ends) setPlaying(false);
  else requestAnimationFrame(tick);
}

function toggle() {
  if (!playing && !$("loop").checked && time >= viewer.duration) seek(0);
  setPlaying(!playing);
}

function step(direction) {
  setPlaying(false);
  const count = viewer.times.length;
  seek(viewer.times[(frameAt(time) + direction + count) % count]);
}

const KEYS = {
  " ": toggle,
  ",": () => step(-1),
  ".": () => step(1),
  "+": () => viewer.zoom(0.9),
  "=": () => viewer.zoom(0.9),
  "-": () => viewer.zoom(1 / 0.9),
  ArrowLeft: () => viewer.rotate(-0.15, 0),
  ArrowRight: () => viewer.rotate(0.15, 0),
  ArrowUp: () => viewer.rotate(0, 0.15),
  ArrowDown: () => viewer.rotate(0, -0.15),
};

$("canvas").addEventListener("keydown", (event) => {
  if (!KEYS[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  KEYS[event.key]();
});
$("play").addEventListener("click", toggle);
$("back").addEventListener("click", () => step(-1));
$("forward").addEventListener("click", () => step(1));
$("scrub").addEventListener("input", () => {
  setPlaying(false);
  seek(Number($("scrub").value));
});
