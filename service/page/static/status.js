// A bar at the bottom of the window with progress or a problem that is scrolled out of sight.

import { $, show } from "./dom.js";

const WATCHED = ["job-problem", "form-problem", "progress"]; // the first that is out of sight is told
const inSight = new Map();

export function startStatus() {
  const sight = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) inSight.set(target.id, isIntersecting);
    update();
  });
  const changes = new MutationObserver(update);
  for (const id of WATCHED) {
    sight.observe($(id));
    changes.observe($(id), { attributes: true, childList: true, characterData: true, subtree: true });
  }
  $("status-show").addEventListener("click", () => {
    $($("status").dataset.of)?.scrollIntoView({ block: "center" });
  });
}

function update() {
  const id = WATCHED.find((it) => isTold($(it)) && !inSight.get(it));
  show($("status"), id);
  if (!id) return;
  const progress = id === "progress";
  $("status").dataset.of = id;
  $("status").classList.toggle("bad", !progress);
  show($("status-bar"), progress);
  if (!progress) {
    $("status-text").textContent = $(id).querySelector("strong").textContent;
    return;
  }
  $("status-text").textContent = [$("stage-name"), $("eta")]
    .map((node) => node.textContent)
    .filter(Boolean)
    .join(" · ");
  if ($("bar").hasAttribute("value")) $("status-bar").value = $("bar").value;
  else $("status-bar").removeAttribute("value");
}

const isTold = (node) => !node.hidden && Boolean(node.querySelector("strong, progress"));
