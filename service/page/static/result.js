// The result of a job: files, fit, mesh statistics and timings.

import { key, request } from "./api.js";
import { $, bytes, element, problemBox, show } from "./dom.js";
import { rememberedUp } from "./links.js";
import { onTime, showMesh, showPoints } from "./player.js";
import { sizeOf } from "./plan.js";
import { fitPlot } from "./plot.js";
import { asPlayed } from "./sequence.js";
import { upOf } from "./up.js";

let mark = null; // moves the time marker in the plot
onTime((fraction) => mark?.(fraction));

export function leaveResult() {
  mark = null;
  for (const id of ["result", "kept", "verdict", "no-mesh"]) show($(id), false);
}

// `input`: the points of the job if available.
export async function showResult(job, input, signal) {
  const points = asPlayed(input, job.options);
  const { result } = job;
  show($("kept"), job.state !== "expired");
  $("kept-until").textContent = `Files are kept until ${new Date(job.expires_at).toLocaleString()}.`;
  if (job.state === "expired") {
    const detail = "Its files have been deleted. The record is kept for some time.";
    $("job-problem").replaceChildren(problemBox({ title: "Job expired", detail }));
  }
  const taken = upOf(job.options.up, result?.decisions?.up, points);
  const up = rememberedUp() ?? taken;
  if (!result || job.state === "expired") return showPoints(points, "", up, true);
  showVerdict(result);
  const plot = fitPlot(result.fit);
  $("fit").replaceChildren(plot.box);
  mark = plot.mark;
  list("facts", {
    Frames: result.mesh.frames,
    Vertices: result.mesh.vertices.toLocaleString("en"),
    Faces: result.mesh.faces.toLocaleString("en"),
    Watertight: result.mesh.watertight ? "yes" : "no",
    Model: job.model,
    "Up axis": taken === job.options.up ? taken : `${taken} (chosen automatically)`,
    Input: sizeOf(job.input.frames, [job.input.points].flat()),
  });
  list(
    "timings",
    Object.fromEntries(Object.entries(result.timings).map(([stage, seconds]) => [stage, seconds.toFixed(2)])),
  );
  $("files").replaceChildren(...result.files.map(fileLink));
  show($("result"), true);
  const glb = result.files.find((file) => file.format === "glb");
  show($("no-mesh"), !glb && points);
  if (!glb) return showPoints(points, "No preview: this job has no GLB file.", up, true);
  const response = await request(`${glb.href}&redirect=false`, { headers: { Accept: "*/*" }, signal });
  const content = await response.arrayBuffer();
  signal.throwIfAborted();
  return showMesh(content, points, { up, isResult: true, most: Math.max(...result.fit.p95) });
}

// Whether to trust the result: the verdict, its reasons, and what is unusual about the input.
function showVerdict({ verdict, reasons = [], warnings = [], decisions }) {
  const item = (text, kind) => element("li", { class: kind }, text);
  const notes = decisions ? decisionNotes(decisions) : [];
  $("verdict").className = `judgement ${verdict ?? ""}`;
  $("verdict").replaceChildren(
    element("strong", {}, verdict ? `Verdict: ${verdict}` : "Not judged"),
    element(
      "ul",
      {},
      ...[...reasons, ...warnings].map((text) => item(text, "")),
      ...notes.map((text) => item(text, "note")),
    ),
  );
  show($("verdict"), true);
}

export function decisionNotes({ corresponding, removed }) {
  const count = Object.values(removed).flat().reduce((sum, points) => sum + points, 0);
  return [
    corresponding ? "row j is the same point in every frame" : "points were matched from frame to frame",
    ...(count ? [count === 1 ? "1 point was removed" : `${count.toLocaleString("en")} points were removed`] : []),
  ];
}

function list(id, values) {
  $(id).replaceChildren(
    ...Object.entries(values).flatMap(([name, value]) => [
      element("dt", {}, name),
      element("dd", {}, String(value)),
    ]),
  );
}

// A download link. With a key, the file is fetched by script, since a link cannot send the header.
function fileLink(file) {
  const link = element(
    "a",
    { href: `${file.href}&redirect=false`, download: "" },
    element("strong", {}, file.format.toUpperCase()),
    element("span", {}, bytes(file.bytes)),
  );
  link.addEventListener("click", async (event) => {
    if (!key.get()) return;
    event.preventDefault();
    link.setAttribute("aria-busy", "true");
    try {
      const response = await request(link.href, { headers: { Accept: "*/*" } });
      const name =
        /filename="([^"]+)"/.exec(response.headers.get("Content-Disposition") ?? "")?.[1] ?? file.name;
      const url = URL.createObjectURL(await response.blob());
      element("a", { href: url, download: name }).click();
      setTimeout(() => URL.revokeObjectURL(url), 60_000);
    } catch (error) {
      $("job-problem").replaceChildren(problemBox(error));
    } finally {
      link.removeAttribute("aria-busy");
    }
  });
  return element("li", {}, link);
}
