// The 3D view and its playback controls. three.js is loaded on first use.

import { $, show } from "./dom.js";

const MIN_DURATION = 1.8; // seconds; shorter clips start in slow motion
let viewer, loading;
let latest = 0; // number of the latest request; results of earlier ones are discarded
let playing = false;
let time = 0;
let lastTick = 0;
const listeners = new Set();

export const onTime = (listener) => listeners.add(listener);

// Shows the points of a sequence from npz.js, or `message` if there are none.
export const showPoints = (sequence, message) => present(null, sequence, message);

// Shows the GLB of a job, together with its input points if available.
export const showMesh = (glb, sequence) => present(glb, sequence, "");

async function present(glb, sequence, message) {
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
  show($("show-points").closest("label"), sequence);
  show($("show-wireframe").closest("label"), mesh);
  show($("show-colors").closest("label"), viewer.hasColors);
  $("show-points").checked = !mesh;
  $("canvas").setAttribute(
    "aria-label",
    mesh ? "Animation of the reconstructed mesh" : "Animation of the input points",
  );
  $("scrub").max = viewer.duration;
  const speeds = Array.from($("speed").options, (option) => Number(option.value)).filter((it) => it <= 1);
  $("speed").value = speeds.findLast((speed) => viewer.duration / speed >= MIN_DURATION) ?? speeds[0];
  updateDisplay();
  seek(0);
  setPlaying(hasContent && !matchMedia("(prefers-reduced-motion: reduce)").matches);
}

async function ready() {
  loading ??= import("./viewer.js").then(({ Viewer }) => {
    viewer = new Viewer($("canvas"));
  });
  try {
    await loading;
  } catch {
    loading = null;
    $("empty").textContent = "The 3D view requires WebGL. Jobs and downloads work without it.";
  }
  return Boolean(viewer);
}

function updateDisplay() {
  viewer.setDisplay({
    points: $("show-points").checked,
    wireframe: $("show-wireframe").checked,
    colors: $("show-colors").checked || !viewer.hasColors,
    zUp: $("z-up").checked,
  });
}

function seek(seconds) {
  time = seconds;
  viewer.seek(time);
  const frame = viewer.times.findLastIndex((start) => start <= time + 1e-9);
  $("scrub").value = time;
  $("clock").textContent = `${time.toFixed(viewer.duration < 10 ? 2 : 1)} s`;
  $("scrub").setAttribute(
    "aria-valuetext",
    `${time.toFixed(2)} seconds, frame ${frame + 1} of ${viewer.times.length}`,
  );
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
  const elapsed = (Number($("speed").value) * (stamp - lastTick)) / 1000;
  lastTick = stamp;
  seek(viewer.duration ? (time + elapsed) % viewer.duration : 0);
  requestAnimationFrame(tick);
}

function step(direction) {
  setPlaying(false);
  const { times } = viewer;
  const last = times.length - 1;
  const now = times.findLastIndex((start) => start <= time + 1e-9);
  seek(times[(now + direction + last + 1) % (last + 1)]);
}

const KEYS = {
  " ": () => setPlaying(!playing),
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
$("play").addEventListener("click", () => setPlaying(!playing));
$("scrub").addEventListener("input", () => {
  setPlaying(false);
  seek(Number($("scrub").value));
});
for (const id of ["show-points", "show-wireframe", "show-colors", "z-up"])
  $(id).addEventListener("change", updateDisplay);
$("reset-view").addEventListener("click", () => viewer.frame());
