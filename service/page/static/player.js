// The 3D view with its controls: time, speed, what is shown. three.js is fetched when there is something to show.

import { $, show } from "./dom.js";

const SLOWEST_LOOP = 1.8; // seconds that one round of a short clip takes at least, unless the reader says otherwise
let viewer,
  loading,
  playing = false,
  time = 0,
  before = 0;
const watchers = new Set();

export const onTime = (watcher) => watchers.add(watcher);

// The points of a sequence from npz.js, before there is a mesh; null clears the view.
export async function showPoints(sequence, otherwise = "") {
  $("empty").textContent = otherwise;
  if (!sequence && !viewer) return;
  if (!(await ready())) return;
  viewer.clear();
  viewer.setPoints(sequence);
  begin(sequence ? "The points of the file, moving" : null);
}

// The GLB of a job, and the points that it was made from where they are at hand.
export async function showMesh(glb, sequence) {
  if (!(await ready())) return;
  viewer.clear();
  await viewer.setMesh(glb);
  viewer.setPoints(sequence);
  $("show-points").checked = false;
  begin("The reconstructed mesh, moving");
}

async function ready() {
  loading ??= import("./viewer.js")
    .then(({ Viewer }) => {
      viewer = new Viewer($("canvas"));
    })
    .catch(() => {
      $("empty").textContent =
        "This browser has no WebGL, so nothing can be shown here. Downloads work all the same.";
    });
  await loading;
  return Boolean(viewer);
}

function begin(label) {
  const visible = viewer.hasMesh || viewer.hasPoints;
  show($("canvas"), visible);
  show($("empty"), !visible);
  show($("controls"), visible);
  $("show-points").closest("label").hidden = !viewer.hasPoints;
  $("show-colors").closest("label").hidden = !viewer.hasColors;
  $("show-wireframe").closest("label").hidden = !viewer.hasMesh;
  if (!visible) return setPlaying(false);
  if (!viewer.hasMesh) $("show-points").checked = true;
  $("canvas").setAttribute("aria-label", label);
  $("scrub").max = viewer.duration;
  const speeds = Array.from($("speed").options, (option) => Number(option.value)).filter(
    (speed) => speed <= 1,
  );
  $("speed").value = speeds.findLast((speed) => viewer.duration / speed >= SLOWEST_LOOP) ?? speeds[0];
  look();
  seek(0);
  setPlaying(!matchMedia("(prefers-reduced-motion: reduce)").matches);
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
