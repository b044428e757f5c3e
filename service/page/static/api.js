// Client for the HTTP API. The key is kept in session storage and sent only in the Authorization header.

const KEY = "oflow-key";
const STREAM_TIMEOUT = 40_000; // milliseconds; the server sends a heartbeat every 15 seconds
export const key = {
  get: () => sessionStorage.getItem(KEY),
  set: (text) => sessionStorage.setItem(KEY, text),
  forget: () => sessionStorage.removeItem(KEY),
  // Set by page.js: prompts for a key; rejects if the user cancels.
  ask: async (problem) => {
    throw problem;
  },
};

export class Problem extends Error {
  constructor(fields) {
    super(fields.detail ?? fields.title);
    Object.assign(this, fields);
  }
}

const OFFLINE = {
  title: "Service unreachable",
  detail: "Check your connection and try again.",
  code: "offline",
};

const authorization = () => (key.get() ? { Authorization: `Bearer ${key.get()}` } : {});

function problemOf(status, text, retryAfter) {
  let fields = {};
  try {
    fields = JSON.parse(text);
  } catch {
    /* not JSON, for example a proxy's error page */
  }
  return new Problem({
    title: `Request failed with status ${status}`,
    status,
    retryAfter: Number(retryAfter) || 0,
    ...fields,
  });
}

// Like fetch, but throws a Problem for error responses and prompts for a key on 401.
export async function request(path, options = {}) {
  for (;;) {
    let response;
    try {
      response = await fetch(path, {
        ...options,
        headers: { Accept: "application/json", ...options.headers, ...authorization() },
      });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Problem(OFFLINE);
    }
    if (response.ok) return response;
    const problem = problemOf(
      response.status,
      await response.text(),
      response.headers.get("Retry-After"),
    );
    if (response.status !== 401) throw problem;
    await key.ask(problem);
  }
}

export const json = async (path, options) => (await request(path, options)).json();

// POST /reconstruct, with XMLHttpRequest because fetch does not report upload progress.
export async function reconstruct(form, idempotencyKey, onProgress, signal) {
  for (;;) {
    const response = await send(form, idempotencyKey, onProgress, signal);
    if (response.status < 300) return JSON.parse(response.responseText);
    const retryAfter = response.getResponseHeader("Retry-After");
    const problem = problemOf(response.status, response.responseText, retryAfter);
    if (response.status !== 401) throw problem;
    await key.ask(problem);
  }
}

function send(form, idempotencyKey, onProgress, signal) {
  return new Promise((resolve, reject) => {
    const call = new XMLHttpRequest();
    const abort = () => call.abort();
    call.open("POST", "/reconstruct");
    for (const [name, value] of Object.entries({ "Idempotency-Key": idempotencyKey, ...authorization() })) {
      call.setRequestHeader(name, value);
    }
    call.upload.onprogress = (event) => onProgress(event.loaded, event.total);
    call.onload = () => resolve(call);
    call.onerror = () => reject(new Problem(OFFLINE));
    call.onabort = () => reject(new DOMException("canceled", "AbortError"));
    call.onloadend = () => signal.removeEventListener("abort", abort);
    signal.addEventListener("abort", abort);
    call.send(form);
  });
}

// Yields the events of a job until it ends, resuming after a lost connection.
// EventSource cannot be used, as it cannot send an Authorization header.
export async function* events(id, signal, onLost) {
  let last = 0;
  for (let wait = 500; ; wait = Math.min(2 * wait, 10_000)) {
    try {
      const headers = { Accept: "text/event-stream", "Last-Event-ID": String(last) };
      const response = await request(`/jobs/${id}/events`, { headers, signal });
      if (response.status === 204) return;
      for await (const event of parse(response.body)) {
        last = event.id;
        wait = 500;
        yield event.data;
        if (!["queued", "running"].includes(event.data.state)) return;
      }
    } catch (error) {
      if (signal.aborted) throw error;
      if (error instanceof Problem && error.code !== "offline" && error.status < 500 && error.status !== 429)
        throw error;
    }
    onLost();
    await new Promise((resolve) => setTimeout(resolve, wait));
    signal.throwIfAborted();
  }
}

async function* parse(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  try {
    for (;;) {
      const { done, value } = await withTimeout(STREAM_TIMEOUT, reader.read());
      if (done) return;
      text += value;
      const blocks = text.split("\n\n");
      text = blocks.pop();
      for (const block of blocks) {
        const fields = Object.fromEntries(block.split("\n").map((line) => line.split(/: ?(.*)/s)));
        if (fields.data) yield { id: Number(fields.id), data: JSON.parse(fields.data) };
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

function withTimeout(milliseconds, promise) {
  let timer;
  const timeout = new Promise((_, reject) => {
    timer = setTimeout(reject, milliseconds, new Error("timeout"));
  });
  return Promise.race([promise, timeout]).finally(() => clearTimeout(timer));
}
