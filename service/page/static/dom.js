// DOM helpers, and formatting of sizes, durations and problems.

export const $ = (id) => document.getElementById(id);

export function element(tag, attributes = {}, ...children) {
  const node = document.createElementNS(
    /^(svg|path|line|text|g|circle|title)$/.test(tag)
      ? "http://www.w3.org/2000/svg"
      : "http://www.w3.org/1999/xhtml",
    tag,
  );
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== false && value != null) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children);
  return node;
}

export function show(node, visible) {
  node.hidden = !visible;
}

export function bytes(count) {
  if (count < 1000) return `${count} B`;
  const [value, unit] =
    count < 1e6 ? [count / 1e3, "kB"] : count < 1e9 ? [count / 1e6, "MB"] : [count / 1e9, "GB"];
  return `${value.toPrecision(value < 100 ? 2 : 3)} ${unit}`;
}

export function duration(seconds) {
  if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}

export const number = (value) =>
  value === 0
    ? "0"
    : Math.abs(value) >= 1e-4 && Math.abs(value) < 1e5
      ? String(Number(value.toPrecision(3)))
      : value.toExponential(1);

// An alert for an API problem, with its title, all faults and the trace id.
export function problemBox(problem) {
  const faults = problem.errors ?? [];
  const title = problem.title ?? "Something went wrong";
  const box = element(
    "div",
    { class: "problem", role: "alert", tabindex: "-1" },
    element("strong", {}, title),
  );
  const detail = problem.detail ?? problem.message;
  if (faults.length === 0 && detail && detail !== title) box.append(element("p", {}, detail));
  if (faults.length) box.append(element("ul", {}, ...faults.map(faultItem)));
  if (problem.retryAfter) box.append(element("p", {}, `Try again in ${duration(problem.retryAfter)}.`));
  if (problem.trace_id)
    box.append(element("p", { class: "trace" }, `${problem.code} · request ${problem.trace_id}`));
  return box;
}

function faultItem(fault) {
  const item = element("li", {}, fault.message);
  if (fault.key && !fault.message.startsWith(fault.key)) item.prepend(element("code", {}, fault.key), " ");
  const isNew = (text) => text && !fault.message.includes(text);
  if (isNew(fault.found)) item.append(element("span", {}, `found ${fault.found}`));
  if (isNew(fault.wanted)) item.append(element("span", {}, `expected ${fault.wanted}`));
  return item;
}
