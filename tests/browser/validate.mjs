// node validate.mjs FILE.glb … → the validator's reports as a JSON array.
import { readFile } from "node:fs/promises";
import validator from "gltf-validator";

const reports = await Promise.all(
  process.argv.slice(2).map(async (path) => validator.validateBytes(new Uint8Array(await readFile(path)))),
);
console.log(JSON.stringify(reports.map((report) => ({ issues: report.issues, info: report.info }))));
