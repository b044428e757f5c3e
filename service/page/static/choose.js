// What was chosen: files from the dialog, a folder, or dropped ones, and which of them form a sequence.

import { bytes, element } from "./dom.js";
import { naturally, suffixOf } from "./frames.js";

const HIDDEN = /(^|\/)(\.|__MACOSX\/|Thumbs\.db$|desktop\.ini$)/;

// All files of a drop, those in folders too, each as {path, file}.
export async function dropped(transfer) {
  const entries = Array.from(transfer.items, (item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.length) return picked(transfer.files);
  return (await Promise.all(entries.map(inside))).flat();
}

export const picked = (files) =>
  Array.from(files, (file) => ({ path: file.webkitRelativePath || file.name, file }));

async function inside(entry) {
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
    return [{ path: entry.fullPath.replace(/^\//, ""), file }];
  }
  const reader = entry.createReader();
  const found = [];
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject)); // 100 at a time
    if (!some.length) return found.flat();
    found.push(...(await Promise.all(some.map(inside))));
  }
}

// Sorts out a sequence: {files, name, leftOut: [path], problem}. Of several kinds of files the most frequent is used.
export function sortOut(chosen) {
  const visible = chosen.filter(({ path }) => !HIDDEN.test(path));
  const groups = Map.groupBy(visible, ({ path }) => suffixOf(path));
  const [group = []] = [...groups.values()].sort((one, other) => other.length - one.length);
  const leftOut = visible.filter((it) => !group.includes(it)).map(({ path }) => path);
  const sorted = group.toSorted((one, other) => naturally(one.path, other.path));
  const folder = /^(.+?)\//.exec(sorted[0]?.path ?? "")?.[1];
  const files = named(sorted);
  const name = folder ?? (files.length > 1 ? `${files[0].name} and ${files.length - 1} more` : files[0]?.name);
  return { files, name, leftOut, problem: problemOf(files) };
}

// The files by their own names, or by their paths if two files in different folders have the same name.
function named(chosen) {
  const unique = new Set(chosen.map(({ file }) => file.name)).size === chosen.length;
  return chosen.map(({ path, file }) => (unique ? file : new File([file], path.replaceAll("/", "_"), file)));
}

function problemOf(files) {
  if (!files.length) return "There are no files in it. Choose the files of a sequence.";
  const archives = files.filter(({ name }) => suffixOf(name) === "zip");
  if (archives.length > 1)
    return `${archives.length} zip archives were chosen, and one is a whole sequence. Choose one of them.`;
  return null;
}

// What was chosen, for the form; `text` describes a sample.
export function describe({ files, name, leftOut, text }) {
  const size = bytes(files.reduce((sum, file) => sum + file.size, 0));
  const parts = [element("strong", {}, name), ` ${size}`];
  if (files.length > 1) parts.push(` · ${files.length} files: ${files[0].name} to ${files.at(-1).name}`);
  if (text) parts.push(` · ${text}`);
  if (leftOut.length) {
    const some = leftOut.slice(0, 3).join(", ") + (leftOut.length > 3 ? ", …" : "");
    parts.push(element("span", { class: "left-out" }, `Not sent, since they are of another kind: ${some}`));
  }
  return parts;
}
