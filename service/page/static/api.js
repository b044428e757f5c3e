// The HTTP API of this service. The key lives in this tab's session storage and travels in a header alone.

const KEY = "oflow-key";
const SILENCE = 40_000; // milliseconds after which a stream is given up; a heartbeat comes every 15 seconds
export const key = {
  get: () => sessionStorage.getItem(KEY),
  set: (text) => sessionStorage.setItem(KEY, text),
  forget: () => sessionStorage.removeItem(KEY),
  // Set by page.js: asks the reader; resolves when there is a new key, rejects when there will be none.
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
  title: "The service does not answer",
  detail: "Check the connection, then try again.",
  code: "offline",
};

const authorization = () => (key.get() ? { Authorization: `Bearer ${key.get()}` } : {});

function problemOf(status, text, retryAfter) {
  let fields = {};
  try {
    fields = JSON.parse(text);
  } catch {
    /* a proxy's page */
  }
  return new Problem({
    title: `The answer was ${status}`,
    status,
    retryAfter: Number(retryAfter) || 0,
    ...fields,
  });
}

// Like fetch, but throws a Problem for every answer that is no success, and asks for a key when it is told to.
export async function request(path, options = {}) {
  for (;;) {
    let answer;
    try {
      answer = await fetch(path, {
        ...options,
        headers: { Accept: "application/json", ...options.headers, ...authorization() },
      });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Problem(OFFLINE);
    }
    if (answer.ok) return answer;
    const problem = problemOf(answer.status, await answer.text(), answer.headers.get("Retry-After"));
    if (answer.status !== 401) throw problem;
    await key.ask(problem);
  }
}

export const json = async (path, options) => (await request(path, options)).json();

// POST /reconstruct; XMLHttpRequest, because fetch tells nothing of an upload's progress.
export async function reconstruct(form, idempotencyKey, onProgress, signal) {
  for (;;) {
    const answer = await send(form, idempotencyKey, onProgress, signal);
    if (answer.status < 300) return JSON.parse(answer.responseText);
    const problem = problemOf(answer.status, answer.responseText, answer.getResponseHeader("Retry-After"));
    if (answer.status !== 401) throw problem;
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

// The events of a job until it ends; goes on after the last one when the connection is lost.
// EventSource could send no key.
export async function* events(id, signal, onLost) {
  let last = 0;
  for (let wait = 500; ; wait = Math.min(2 * wait, 10_000)) {
    try {
      const headers = { Accept: "text/event-stream", "Last-Event-ID": String(last) };
      const answer = await request(`/jobs/${id}/events`, { headers, signal });
      if (answer.status === 204) return;
      for await (const event of parse(answer.body)) {
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
      const { done, value } = await within(SILENCE, reader.read());
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

function within(milliseconds, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(reject, milliseconds, new Error("silence"));
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}
