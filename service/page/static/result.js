// What a job made: its files, how well they fit, what they hold, where the time went.

import { key, request } from "./api.js";
import { $, bytes, element, problemBox, show } from "./dom.js";
import { onTime, showMesh, showPoints } from "./player.js";
import { fitPlot } from "./plot.js";

let mark = null; // moves the line in the plot
onTime((part) => mark?.(part));

export function leaveResult() {
  mark = null;
  show($("result"), false);
  show($("kept"), false);
}

// `points` is what the job was made from, where the page has it.
export async function showResult(job, points, signal) {
  const { result } = job;
  show($("kept"), job.state !== "expired");
  $("kept-until").textContent = `Files are kept until ${new Date(job.expires_at).toLocaleString()}.`;
  if (job.state === "expired") {
    const detail = "Its files were deleted; the record is kept for a while.";
    $("job-problem").replaceChildren(problemBox({ title: "This job has expired", detail }));
  }
  if (!result || job.state === "expired") return;
  const plot = fitPlot(result.fit);
  $("fit").replaceChildren(plot.box);
  mark = plot.mark;
  list("facts", {
    Frames: result.mesh.frames,
    Vertices: result.mesh.vertices.toLocaleString("en"),
    Faces: result.mesh.faces.toLocaleString("en"),
    Watertight: result.mesh.watertight ? "yes" : "no",
    Model: job.model,
    Input: `${job.input.frames} frames of ${[job.input.points].flat().join(" to ")} points`,
  });
  list(
    "timings",
    Object.fromEntries(Object.entries(result.timings).map(([stage, seconds]) => [stage, seconds.toFixed(2)])),
  );
  $("files").replaceChildren(...result.files.map(fileLink));
  show($("result"), true);
  const glb = result.files.find((file) => file.format === "glb");
  if (!glb) return showPoints(points, "This job made no GLB, which is what is played here.");
  const answer = await request(`${glb.href}&redirect=false`, { headers: { Accept: "*/*" }, signal });
  const content = await answer.arrayBuffer();
  signal.throwIfAborted();
  return showMesh(content, points);
}

function list(id, values) {
  $(id).replaceChildren(
    ...Object.entries(values).flatMap(([name, value]) => [
      element("dt", {}, name),
      element("dd", {}, String(value)),
    ]),
  );
}

// A plain link; where a key is needed, which a link cannot carry, the file is fetched and then handed over.
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
      const answer = await request(link.href, { headers: { Accept: "*/*" } });
      const name =
        /filename="([^"]+)"/.exec(answer.headers.get("Content-Disposition") ?? "")?.[1] ?? file.name;
      const address = URL.createObjectURL(await answer.blob());
      element("a", { href: address, download: name }).click();
      setTimeout(() => URL.revokeObjectURL(address), 60_000);
    } catch (error) {
      $("job-problem").replaceChildren(problemBox(error));
    } finally {
      link.removeAttribute("aria-busy");
    }
  });
  return element("li", {}, link);
}
