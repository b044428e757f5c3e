// The list of recent jobs, newest first, with paging.

import { json, key, request } from "./api.js";
import { $, element, show } from "./dom.js";
import { nameOf } from "./job.js";
import { shownId } from "./links.js";

let cursor = null;
let latest = 0; // number of the latest request; results of earlier ones are discarded

export async function loadRecent(more = false) {
  const request = ++latest;
  const page = await json(`/jobs?limit=8${more && cursor ? `&cursor=${cursor}` : ""}`);
  if (request !== latest) return;
  const items = page.jobs.map(item);
  if (more) $("recent").append(...items);
  else $("recent").replaceChildren(...items);
  cursor = page.next_cursor ?? null;
  show($("recent-more"), cursor);
  show($("recent-empty"), !$("recent").children.length);
  if (more) items[0]?.querySelector("a").focus();
  markCurrent();
}

export function markCurrent() {
  for (const link of $("recent").querySelectorAll("a")) {
    if (link.hash === `#job=${shownId()}`) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
}

function item(job) {
  const created = new Date(job.created_at);
  const today = created.toDateString() === new Date().toDateString();
  const time = element(
    "time",
    { datetime: job.created_at },
    today ? created.toLocaleTimeString([], { timeStyle: "short" }) : created.toLocaleDateString(),
  );
  return element(
    "li",
    {},
    element(
      "a",
      { href: `#job=${job.id}` },
      thumbnail(job),
      element("strong", {}, nameOf(job)),
      element("span", { class: "badge", "data-state": job.state }, job.state),
      element("span", { class: "what" }, `${job.model} · ${job.options.formats.join(", ")}`, ...judged(job)),
      time,
    ),
  );
}

// The verdict of a job that has one.
function judged({ result }) {
  return result?.verdict ? [" · ", element("span", { "data-verdict": result.verdict }, result.verdict)] : [];
}

// The picture of a job. With a key it is fetched by script, since an image cannot send the header.
function thumbnail(job) {
  const image = element("img", { alt: "", width: 64, height: 48, loading: "lazy" });
  const href = job.links.thumbnail;
  if (!href) image.classList.add("none");
  else if (!key.get()) image.src = href;
  else
    request(href, { headers: { Accept: "*/*" } })
      .then((response) => response.blob())
      .then((blob) => {
        image.src = URL.createObjectURL(blob);
        image.onload = () => URL.revokeObjectURL(image.src);
      })
      .catch(() => {});
  return image;
}
