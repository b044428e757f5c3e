// Uses every method of the TypeScript client; arguments: its module, a sequence, the server, a model.
import { readFile } from "node:fs/promises";
import { basename } from "node:path";

const [module, sequence, address, model] = process.argv.slice(2);
const { Client, JobFailedError, ServiceError } = await import(module);
const client = new Client(address);
const file = new File([await readFile(sequence)], basename(sequence));
const said = {};

const options = { model, formats: ["glb"], metadata: { take: 3 } };
const job = await client.reconstruct(file, options);
said.states = [];
const done = await client.wait(job.id, ({ state }) => {
  if (said.states.push(state) === 1) console.log(job.id); // the test now lets the job succeed
});
said.metadata = done.metadata;
said.name = done.input.name;
said.content = await (await client.download(job.id)).text();
said.isListed = false;
for await (const listed of client.list("succeeded")) said.isListed ||= listed.id === job.id;
said.afterwards = (await client.cancel(job.id)).state;

const other = await client.reconstruct(file, options);
said.canceled = (await client.cancel(other.id)).state;
said.failure = await client.wait(other.id).catch((error) => error instanceof JobFailedError && error.job.state);
const refusal = await client.reconstruct(file, { resolution: 7 }).catch((error) => error);
said.refusal = refusal instanceof ServiceError && [refusal.status, refusal.code, refusal.message];
console.log(JSON.stringify(said));
