// What the 3D view shows and how: mesh or points, colors, the legend of the heat map, screenshots.

import { $, element, number, show } from "./dom.js";
import { drawRamp } from "./heat.js";
import { rememberUp } from "./links.js";
import { direction } from "./up.js";

let facts = {}; // mesh, points, colors: whether there are any; up; most; isResult

// Connects the controls with a viewer. Returns a function that takes changes of `facts`.
export function startDisplay(viewer) {
  const update = () => {
    viewer.setDisplay({
      arrangement: $("arrangement").value,
      coloring: $("coloring").value,
      wireframe: $("show-wireframe").checked,
      up: direction(facts.up),
      most: facts.most,
    });
    const heated = facts.mesh && facts.points && $("coloring").value === "distance";
    show($("legend"), heated);
    $("legend-most").textContent = `${number(facts.most ?? 0)} or more`;
  };
  drawRamp($("ramp"));
  $("view-up").addEventListener("change", () => {
    rememberUp($("view-up").value);
    facts.up = $("view-up").value;
    update();
  });
  for (const id of ["arrangement", "coloring", "show-wireframe"]) $(id).addEventListener("change", update);
  $("reset-view").addEventListener("click", () => viewer.frame());
  $("screenshot").addEventListener("click", () => save(viewer));
  return (changes) => {
    facts = { ...facts, ...changes };
    if ("mesh" in changes) offer();
    $("view-up").value = facts.up;
    update();
  };
}

// Offers what there is to show.
function offer() {
  const both = facts.mesh && facts.points;
  show($("arrangement").parentElement, both);
  show($("coloring").parentElement, facts.mesh && (both || facts.colors));
  show($("show-wireframe").parentElement, facts.mesh);
  show($("view-up").parentElement, facts.isResult); // before that, the form asks for it
  $("arrangement").value = "mesh";
  const [own, , distance] = $("coloring").options;
  own.disabled = own.hidden = !facts.colors;
  distance.disabled = distance.hidden = !both;
  $("coloring").value = facts.colors ? "own" : "plain";
}

async function save(viewer) {
  const url = URL.createObjectURL(await viewer.screenshot());
  element("a", { href: url, download: "oflow.png" }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
