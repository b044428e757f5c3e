// The 3D view with its controls: time, speed, what is shown.
// three.js is fetched when there is something to show.

import { $, show } from "./dom.js";

const SHORTEST_ROUND = 1.8; // seconds for a short clip at first, which is slowed down to that
let viewer, loading;
let turn = 0; // of what was last asked to be shown: what comes later than another is not
let playing = false;
let time = 0;
let before = 0;
const watchers = new Set();

export const onTime = (watcher) => watchers.add(watcher);

// The points of a sequence from npz.js, while there is no mesh; without them `otherwise` is read.
export const showPoints = (sequence, otherwise) => present(null, sequence, otherwise);

// The GLB of a job, and the points that it was made from where they are at hand.
export const showMesh = (glb, sequence) => present(glb, sequence, "");

async function present(glb, sequence, otherwise) {
  const mine = ++turn;
  $("empty").textContent = otherwise;
  const something = Boolean(glb || sequence);
  if ((!something && !viewer) || !(await ready())) return;
  const mesh = glb && (await viewer.parse(glb));
  if (mine !== turn) return;
  viewer.show(mesh, sequence);
  show($("canvas"), something);
  show($("empty"), !something);
  show($("controls"), something);
  show($("show-points").closest("label"), sequence);
  show($("show-wireframe").closest("label"), mesh);
  show($("show-colors").closest("label"), viewer.hasColors);
  $("show-points").checked = !mesh;
  $("canvas").setAttribute(
    "aria-label",
    mesh ? "The reconstructed mesh, moving" : "The points of the file, moving",
  );
  $("scrub").max = viewer.duration;
  const speeds = Array.from($("speed").options, (option) => Number(option.value)).filter((it) => it <= 1);
  $("speed").value = speeds.findLast((speed) => viewer.duration / speed >= SHORTEST_ROUND) ?? speeds[0];
  look();
  seek(0);
  setPlaying(something && !matchMedia("(prefers-reduced-motion: reduce)").matches);
}

async function ready() {
  loading ??= import("./viewer.js").then(({ Viewer }) => {
    viewer = new Viewer($("canvas"));
  });
  try {
    await loading;
  } catch {
    loading = null;
    $("empty").textContent = "The 3D view did not start: it needs WebGL. Jobs and downloads work without.";
  }
  return Boolean(viewer);
}

function look() {
  viewer.look({
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
  for (const watcher of watchers) watcher(viewer.duration ? time / viewer.duration : 0);
}

function setPlaying(now) {
  if (now && !playing)
    requestAnimationFrame((stamp) => {
      before = stamp;
      tick(stamp);
    });
  playing = now;
  $("play").setAttribute("aria-label", now ? "Pause" : "Play");
  $("play").classList.toggle("playing", now);
}

function tick(stamp) {
  if (!playing) return;
  const passed = (Number($("speed").value) * (stamp - before)) / 1000;
  before = stamp;
  seek(viewer.duration ? (time + passed) % viewer.duration : 0);
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
  ArrowLeft: () => viewer.turn(-0.15, 0),
  ArrowRight: () => viewer.turn(0.15, 0),
  ArrowUp: () => viewer.turn(0, 0.15),
  ArrowDown: () => viewer.turn(0, -0.15),
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
  $(id).addEventListener("change", look);
$("reset-view").addEventListener("click", () => viewer.frame());
