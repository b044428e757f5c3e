/** Client of the oflow HTTP API for Node.js 20 and browsers. */
export { Client, JobFailedError, type ClientOptions, type Source } from "./client.js";
export { ServiceError } from "./errors.js";
export type { Format, Job, JobEvent, Options, State } from "./types.js";
