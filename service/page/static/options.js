// Builds the form controls from the JSON schema of the job options.

import { json } from "./api.js";
import { $, element } from "./dom.js";

const PLACES = { up: "ask" }; // asked once there is a sequence
const FIRST = ["formats", "color", "quality"]; // the others go under "More options"
const PRESET = { color: "correspondence" }; // differs from the API default, for the viewer

const EITHER = { "": "auto", true: "yes", false: "no" };
const titleOf = (name, { title }) => title ?? name[0].toUpperCase() + name.slice(1).replaceAll("_", " ");

// Adds a control for every option that the form does not have yet, except those in `without`.
export async function buildOptions(without) {
  const schema = await json("/page/options");
  for (const [name, field] of Object.entries(schema.properties)) {
    if (without.includes(name) || $("form").elements[name]) continue;
    const control = controlOf(name, resolve(field, schema.$defs));
    if (control) $(PLACES[name] ?? (FIRST.includes(name) ? "first-options" : "more-options")).append(control);
  }
  for (const { required } of schema.not?.anyOf ?? [schema.not ?? {}]) exclude(required ?? []);
}

// Asks for the frame rate, by the option of this name if any, together with the axis.
export function askRate(name) {
  for (const [rate, before] of Object.entries({ fps: "frames", playback_fps: "duration" })) {
    const field = $(rate).closest(".field");
    if (rate === name) $("ask").append(field);
    else $(before).closest(".field").after(field);
  }
}

// Resolves references of a field, and drops null from optional ones.
function resolve(field, definitions) {
  const { anyOf = [], $ref, ...own } = field;
  const [kind = {}] = anyOf.filter(({ type }) => type !== "null");
  const target = $ref ?? kind.$ref;
  const all = { ...(target && definitions[target.split("/").at(-1)]), ...kind, ...own };
  all.title = own.title ?? null; // that of a definition names a type
  all.optional = anyOf.length > 1;
  return all.items ? { ...all, items: resolve(all.items, definitions) } : all;
}

function controlOf(name, field) {
  if (field.items?.enum) return choices(name, field);
  if (field.enum) return labelled(name, field, select(name, field));
  if (field.type === "boolean" && field.optional) return labelled(name, field, select(name, field, EITHER));
  if (field.type === "boolean") return labelled(name, field, element("input", { type: "checkbox", value: "true" }));
  if (field.type === "integer" || field.type === "number") {
    const { minimum: min, maximum: max } = field;
    const step = field.type === "number" ? "any" : 1;
    return labelled(name, field, element("input", { type: "number", min, max, step, placeholder: "default" }));
  }
  if (field.type === "string")
    return labelled(name, field, element("input", { type: field.format === "uri" ? "url" : "text" }));
  return null; // JSON objects
}

function choices(name, field) {
  const boxes = field.items.enum.map((value) =>
    element(
      "label",
      { class: "pill" },
      element("input", { type: "checkbox", name, value, checked: field.default?.includes(value) }),
      ` ${value.toUpperCase()}`,
    ),
  );
  return element(
    "fieldset",
    {},
    element("legend", {}, titleOf(name, field)),
    element("div", { class: "row" }, ...boxes),
  );
}

// `texts`: value → text, by default the values of the field.
function select(name, field, texts = Object.fromEntries(field.enum.map((value) => [value, value]))) {
  const chosen = String(PRESET[name] ?? field.default ?? "");
  const options = Object.entries(texts).sort(([value]) => (value === "" ? -1 : 0)); // "auto" first
  return element(
    "select",
    {},
    ...options.map(([value, text]) => element("option", { value, selected: value === chosen }, text)),
  );
}

function labelled(name, field, control) {
  control.id = name;
  control.name = name;
  control.setAttribute("aria-describedby", `${name}-help`);
  return element(
    "div",
    { class: "field" },
    element("label", { for: name }, titleOf(name, field)),
    control,
    element("p", { class: "help", id: `${name}-help` }, ...marked(field.description ?? "")),
  );
}

// Renders text between backticks as code.
const marked = (text) => text.split("`").map((part, index) => (index % 2 ? element("code", {}, part) : part));

// Makes inputs mutually exclusive: filling in one disables the others.
function exclude(names) {
  const inputs = names.map((name) => $(name)).filter(Boolean);
  for (const input of inputs) {
    input.addEventListener("input", () => {
      for (const other of inputs) if (other !== input) other.disabled = input.value !== "";
    });
  }
}
