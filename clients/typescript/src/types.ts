/** Short names for the generated types. */
import type { Readable } from "openapi-typescript-helpers";

import type { components, paths } from "./schema.js";

type Schemas = components["schemas"];
type Body = NonNullable<paths["/reconstruct"]["post"]["requestBody"]>["content"]["application/json"];

export type Format = Schemas["Format"];
// As openapi-fetch returns it.
export type Job = Readable<Schemas["JobView"]>;
export type JobEvent = Schemas["JobEvent"];
export type Problem = Schemas["ProblemDetails"];
export type State = Schemas["State"];
/** Options of `POST /reconstruct`. */
export type Options = Omit<Body, "source_url" | "upload_id">;
