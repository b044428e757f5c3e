// Entry point: routing by URL hash, the key dialog, and the wiring of the other modules.

import { json, key } from "./api.js";
import { $, problemBox, show } from "./dom.js";
import { setModels, startForm, stopSending } from "./form.js";
import { cancel, deleteFiles, leaveJob, showJob, showUpload } from "./job.js";
import { buildOptions } from "./options.js";
import { showPoints } from "./player.js";
import { loadRecent, markCurrent } from "./recent.js";

const HINT = $("empty").textContent;
let keyPrompt = null;
const shownId = () => /^#job=([0-9a-f]{32})$/.exec(location.hash)?.[1];

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
}

function watchJob() {
  $("cancel").addEventListener("click", () => {
    if (!stopSending()) cancel();
  });
  $("delete").addEventListener("click", () => deleteFiles(refreshRecent));
  $("recent-more").addEventListener("click", () => loadRecent(true).catch(showProblem));
  $("copy-link").addEventListener("click", async () => {
    await navigator.clipboard.writeText(location.href);
    $("copy-link").textContent = "Copied";
    setTimeout(() => {
      $("copy-link").textContent = "Copy link";
    }, 2000);
  });
  addEventListener("hashchange", () => {
    if (shownId()) return route();
    leaveJob();
    markCurrent();
    return showPoints(null, HINT);
  });
}

// Leaves the current job and previews a file.
function previewFile(name) {
  if (shownId()) history.pushState(null, "", "/");
  leaveJob(name);
  markCurrent();
}

async function start() {
  const service = await json("/");
  await buildOptions(service.webhooks ? [] : ["webhook_url"]);
  startForm(
    {
      onChoose: previewFile,
      onSend: (name) => {
        previewFile(name);
        if ($("job").getBoundingClientRect().top > 0.6 * innerHeight) $("job").scrollIntoView(); // on phones
      },
      onProgress: showUpload,
      onSent: (job) => {
        location.hash = `job=${job.id}`;
        refreshRecent();
      },
      onStop: () => show($("progress"), false),
    },
    service.limits,
  );
  watchJob();
  watchKeyDialog();
  show($("key-button"), service.auth === "keys");
  if (service.auth === "keys" && !key.get()) await key.ask(null);
  await refresh();
}

start().catch(showProblem);
