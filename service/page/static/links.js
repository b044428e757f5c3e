// What the address says: `#job=<id>`, and after it `&up=<axis>` where another axis was chosen to point up.

import { NAMES } from "./up.js";

const JOB = new RegExp(`^#job=([0-9a-f]{32})(?:&up=(${NAMES.join("|")}))?$`);

export const shownId = () => JOB.exec(location.hash)?.[1];

export const isBadLink = () => location.hash.length > 1 && !shownId();

export const rememberedUp = () => JOB.exec(location.hash)?.[2];

export function rememberUp(up) {
  if (shownId()) history.replaceState(null, "", `#job=${shownId()}&up=${up}`);
}

// Links are shared with the id in the query, which servers see, so that they can be previewed.
export const sharedLink = () => `${location.origin}/?${location.hash.slice(1)}`;

// Takes a shared link to the address that the page works with.
export function openShared() {
  const query = new URLSearchParams(location.search);
  if (!query.has("job")) return;
  const up = query.has("up") ? `&up=${query.get("up")}` : "";
  history.replaceState(null, "", `/#job=${query.get("job")}${up}`);
}
