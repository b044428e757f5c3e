/** Error responses as exceptions. */
import type { Problem } from "./types.js";

/** The server refused a request; `faults` lists what was found and what is wanted. */
export class ServiceError extends Error {
  readonly status: number;
  readonly code: string;
  readonly faults: Problem["errors"];

  constructor(response: Response, problem?: Partial<Problem>) {
    const { host } = new URL(response.url);
    const faults = problem?.errors ?? [];
    const listed = faults.map((fault) => (fault.key ? `${fault.key}: ${fault.message}` : fault.message));
    super(listed.join("\n") || problem?.detail || problem?.title || `${host} answered ${response.status}`);
    this.name = "ServiceError";
    this.status = response.status;
    this.code = problem?.code ?? "refused";
    this.faults = faults;
  }
}

/** The data of a response. Throws ServiceError if there is none. */
export function unwrap<T>(answer: { data?: T; error?: unknown; response: Response }): T {
  if (answer.response.ok && answer.data !== undefined) return answer.data;
  const isProblem = typeof answer.error === "object" && answer.error !== null;
  throw new ServiceError(answer.response, isProblem ? (answer.error as Partial<Problem>) : undefined);
}
