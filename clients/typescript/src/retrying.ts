/** `fetch`, repeated while the server is busy or the connection fails. */

const BUSY = new Set([408, 425, 429, 500, 502, 503, 504]); // answers that another attempt may improve
const LONGEST = 10; // seconds between two attempts, unless the server asks for more

export const sleep = (seconds: number) => new Promise((resolve) => setTimeout(resolve, 1000 * seconds));

/** Attempts for `patience` seconds, as far apart as the server asks for; then the last answer or error. */
export function retryingFetch(patience: number): (request: Request) => Promise<Response> {
  return async (request) => {
    const end = Date.now() + 1000 * patience;
    for (let attempt = 0; ; attempt++) {
      const backoff = Math.min(LONGEST, 0.3 * 2 ** attempt) + Math.random();
      let pause = backoff;
      try {
        const answer = await fetch(request.clone()); // a body can be sent once
        if (!BUSY.has(answer.status)) return answer;
        const asked = answer.headers.get("Retry-After") ?? "";
        if (/^\d+$/.test(asked)) pause = Number(asked);
        if (Date.now() + 1000 * pause > end) return answer;
        await answer.body?.cancel();
      } catch (error) {
        if (request.signal.aborted || Date.now() + 1000 * pause > end) throw error;
      }
      await sleep(pause);
    }
  };
}
