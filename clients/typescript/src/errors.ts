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
    super(faults.map(told).join("\n") || problem?.detail || problem?.title || `${host} answered ${response.status}`);
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

/** A fault with its key, what was found and what is wanted, unless the message already contains them. */
function told({ key, message, found = "", wanted = "" }: NonNullable<Problem["errors"]>[number]): string {
  const text = message.startsWith(key) ? message : `${key}: ${message}`;
  const sides = Object.entries({ found, wanted }).filter(([, value]) => value && !message.includes(value));
  const rest = sides.map(([side, value]) => `${side} ${value}`);
  return rest.length ? `${text} (${rest.join("; ")})` : text;
}
