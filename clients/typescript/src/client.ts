/** The client; it sends what `openapi-fetch` types by the OpenAPI document of the server. */
import { EventSourceParserStream } from "eventsource-parser/stream";
import createClient from "openapi-fetch";

import { unwrap } from "./errors.js";
import { retryingFetch, sleep } from "./retrying.js";
import type { paths } from "./schema.js";
import type { Format, Job, JobEvent, Options, State } from "./types.js";

const PAUSE = 0.5; // seconds before a lost event stream is resumed

export interface ClientOptions {
  /** Bearer key, if the server requires one. */
  key?: string;
  /** Seconds for which requests are repeated while the server is busy or the connection fails; 60 by default. */
  patience?: number;
}

/** A file, the frames of a sequence, or a URL that the server fetches. */
export type Source = Blob | Blob[] | URL;

/** A job that ended without a result. */
export class JobFailedError extends Error {
  constructor(readonly job: Job) {
    super(job.error?.message ?? `the job was ${job.state}`);
    this.name = "JobFailedError";
  }
}

/** The routes of a server as methods. Requests that are refused throw ServiceError. */
export class Client {
  /** The typed client below, for routes and parameters that have no method here. */
  readonly http: ReturnType<typeof createClient<paths>>;
  readonly #patience: number;

  constructor(address = "http://127.0.0.1:8000", { key, patience = 60 }: ClientOptions = {}) {
    this.#patience = patience;
    this.http = createClient<paths>({
      baseUrl: address.replace(/\/+$/, ""),
      fetch: retryingFetch(patience),
      headers: key ? { Authorization: `Bearer ${key}` } : {},
    });
  }

  /** Submit a sequence; returns the queued job. Its idempotency key keeps repeated requests from creating two. */
  async reconstruct(source: Source, options: Options = {}): Promise<Job> {
    const params = { header: { "idempotency-key": crypto.randomUUID() } };
    if (source instanceof URL) {
      const body = { ...options, source_url: source.href };
      return unwrap(await this.http.POST("/reconstruct", { params, body }));
    }
    const form = new FormData();
    for (const file of [source].flat()) {
      form.append("file", file, file instanceof File ? file.name : "sequence.npz");
    }
    for (const [name, value] of Object.entries(options)) {
      if (value !== undefined && value !== null) form.append(name, field(value));
    }
    const request = { params, body: options, bodySerializer: () => form };
    return unwrap(await this.http.POST("/reconstruct", request));
  }

  /** A job as it is; with `wait`, once it has ended or after that many seconds (at most 60). */
  async job(id: string, wait = 0): Promise<Job> {
    const header = wait ? { prefer: `wait=${wait}` } : {};
    const params = { path: { job_id: id }, header };
    return unwrap(await this.http.GET("/jobs/{job_id}", { params }));
  }

  /** The events of a job as they happen, until it ends; resumes after a lost connection. */
  async *events(id: string): AsyncGenerator<JobEvent, void> {
    let last: number | undefined;
    let end = Infinity; // ms; when a broken connection is given up
    while (true) {
      const header = last === undefined ? {} : { "last-event-id": last };
      const params = { path: { job_id: id }, header };
      const answer = await this.http.GET("/jobs/{job_id}/events", { params, parseAs: "stream" });
      if (answer.response.status === 204) return;
      const stream = unwrap({ ...answer, data: answer.response.body ?? undefined });
      const messages = stream.pipeThrough(new TextDecoderStream()).pipeThrough(new EventSourceParserStream());
      const reader = messages.getReader();
      try {
        while (true) {
          const { value, done } = await reader.read();
          if (done) break;
          last = Number(value.id);
          end = Infinity;
          const event: JobEvent = JSON.parse(value.data);
          yield event;
          if (event.state !== "queued" && event.state !== "running") return;
        }
      } catch (error) {
        end = Math.min(end, Date.now() + 1000 * this.#patience);
        if (Date.now() >= end) throw error;
      } finally {
        await reader.cancel().catch(() => undefined); // it may have failed already
      }
      await sleep(PAUSE);
    }
  }

  /** The job once it has succeeded, after `onEvent` for each event. Throws JobFailedError otherwise. */
  async wait(id: string, onEvent: (event: JobEvent) => void = () => undefined): Promise<Job> {
    for await (const event of this.events(id)) onEvent(event);
    const job = await this.job(id);
    if (job.state !== "succeeded") throw new JobFailedError(job);
    return job;
  }

  /** One of the job's files, the first by default. Sent by the gateway, since a page may not read from the store. */
  async download(id: string, format?: Format): Promise<Blob> {
    const params = { path: { job_id: id }, query: { format, redirect: false } };
    return unwrap(await this.http.GET("/jobs/{job_id}/result", { params, parseAs: "blob" }));
  }

  /** The caller's jobs, newest first. */
  async *list(state?: State): AsyncGenerator<Job, void> {
    let cursor: string | undefined;
    do {
      const page = unwrap(await this.http.GET("/jobs", { params: { query: { state, cursor } } }));
      yield* page.jobs;
      cursor = page.next_cursor ?? undefined;
    } while (cursor !== undefined);
  }

  /** Cancel an open job; of one that has ended, delete the files. */
  async cancel(id: string): Promise<Job> {
    return unwrap(await this.http.DELETE("/jobs/{job_id}", { params: { path: { job_id: id } } }));
  }
}

/** An option as a form field. */
function field(value: unknown): string {
  if (Array.isArray(value)) return value.join(",");
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}
