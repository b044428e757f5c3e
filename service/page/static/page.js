// Entry point: routing by URL hash, the key dialog, and the wiring of the other modules.

import { json, key } from "./api.js";
import { $, problemBox, show } from "./dom.js";
import { setModels, startForm, stopSending } from "./form.js";
import { cancel, deleteFiles, leaveJob, showBadLink, showJob, showUpload } from "./job.js";
import { isBadLink, openShared, sharedLink, shownId } from "./links.js";
import { buildOptions } from "./options.js";
import { showPoints } from "./player.js";
import { loadRecent, markCurrent } from "./recent.js";
import { startStatus } from "./status.js";

const HINT = $("empty").textContent;
let keyPrompt = null;

// Opens one dialog even if several requests need a key.
key.ask = (problem) => {
  keyPrompt ??= new Promise((resolve, reject) => {
    const dialog = $("key-dialog");
    show($("key-problem"), key.get() && problem);
    $("key-problem").textContent = problem?.detail ?? "";
    $("key").value = "";
    dialog.returnValue = "";
    dialog.onclose = () => {
      keyPrompt = null;
      if (dialog.returnValue === "used") resolve();
      else reject(problem ?? new DOMException("no key", "AbortError"));
    };
    dialog.showModal();
  });
  return keyPrompt;
};

function watchKeyDialog() {
  $("key-form").addEventListener("submit", (event) => {
    event.preventDefault(); // otherwise the key would end up in the URL
    key.set($("key").value.trim());
    $("key").value = "";
    $("key-dialog").close("used");
  });
  $("key-cancel").addEventListener("click", () => $("key-dialog").close());
  $("key-button").addEventListener("click", () => key.ask(null).then(refresh).catch(showProblem));
}

const refreshRecent = () => loadRecent().catch(() => {});

function showProblem(error) {
  if (error.name !== "AbortError") $("form-problem").replaceChildren(problemBox(error));
}

async function refresh() {
  setModels(await json("/models"));
  await loadRecent();
  await route();
}

async function route() {
  markCurrent();
  if (shownId()) await showJob(shownId(), refreshRecent);
  else if (isBadLink()) await showBadLink();
}

function watchJob() {
  $("cancel").addEventListener("click", () => {
    if (!stopSending()) cancel();
  });
  $("delete").addEventListener("click", () => deleteFiles(refreshRecent));
  $("recent-more").addEventListener("click", () => loadRecent(true).catch(showProblem));
  $("copy-link").addEventListener("click", async () => {
    await navigator.clipboard.writeText(sharedLink());
    $("copy-link").textContent = "Copied";
    setTimeout(() => {
      $("copy-link").textContent = "Copy link";
    }, 2000);
  });
  addEventListener("hashchange", () => {
    if (shownId() || isBadLink()) return route();
    leaveJob();
    markCurrent();
    return showPoints(null, HINT);
  });
}

// Leaves the current job and previews a file.
function previewFile(name) {
  document.body.classList.remove("linked");
  if (location.hash) history.pushState(null, "", "/");
  leaveJob(name);
  markCurrent();
}

async function start() {
  openShared();
  document.body.classList.toggle("linked", location.hash.length > 1); // on phones the job then comes first
  const service = await json("/");
  await buildOptions(service.webhooks ? [] : ["webhook_url"]);
  startForm(
    {
      onChoose: previewFile,
      onSend: (name, points, up) => {
        if (shownId()) showPoints(points, "The mesh will appear here.", up);
        previewFile(name);
        const { top } = $("job").getBoundingClientRect();
        if (top < 0 || top > 0.6 * innerHeight) $("job").scrollIntoView();
      },
      onProgress: showUpload,
      onSent: (job) => {
        location.hash = `job=${job.id}`;
        refreshRecent();
      },
      onStop: () => show($("progress"), false),
    },
    service,
  );
  startStatus();
  watchJob();
  watchKeyDialog();
  show($("key-button"), service.auth === "keys");
  if (service.auth === "keys" && !key.get()) await key.ask(null);
  await refresh();
}

start().catch(showProblem);
