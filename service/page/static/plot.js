// Plot of the fit per input frame: mean and 95th percentile of the distance from points to mesh.

import { element, number } from "./dom.js";

const [WIDTH, HEIGHT, LEFT, BOTTOM, TOP] = [320, 120, 46, 20, 10];

// Returns {box, mark}: `mark(fraction)` moves the time marker, 0 to 1. Values are null in frames without the object.
export function fitPlot({ mean, p95 }) {
  const max = Math.max(...p95, ...mean) || 1;
  const last = Math.max(1, mean.length - 1);
  const x = (frame) => LEFT + ((WIDTH - LEFT - 8) * frame) / last;
  const y = (value) => HEIGHT - BOTTOM - ((HEIGHT - BOTTOM - TOP) * value) / max;
  const line = (values, name) =>
    element("path", {
      class: name,
      d: values
        .map((value, frame) => {
          const command = (values[frame - 1] ?? null) === null ? "M" : "L"; // a line ends where nothing is known
          return value === null ? "" : `${command}${x(frame).toFixed(1)} ${y(value).toFixed(1)}`;
        })
        .join(""),
    });
  const label = (text, left, top, anchor) =>
    element("text", { x: left, y: top, "text-anchor": anchor }, text);
  const known = mean.filter((value) => value !== null);
  const average = known.reduce((sum, value) => sum + value, 0) / known.length;
  const worst = p95.indexOf(Math.max(...p95));
  const summary =
    `Distance from the input points to the mesh per frame: ${number(average)} on average. In the worst ` +
    `frame, ${worst + 1} of ${mean.length}, 95% of the points lie within ${number(p95[worst])}.`;
  const now = element("line", { class: "now", x1: x(0), x2: x(0), y1: TOP, y2: HEIGHT - BOTTOM });
  const svg = element(
    "svg",
    { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": summary },
    element("path", { class: "axis", d: `M${LEFT} ${TOP}V${HEIGHT - BOTTOM}H${WIDTH - 8}` }),
    label(number(max), LEFT - 5, TOP + 4, "end"),
    label("0", LEFT - 5, HEIGHT - BOTTOM + 3, "end"),
    label("1", LEFT, HEIGHT - 5, "middle"),
    label(`frame ${mean.length}`, WIDTH - 8, HEIGHT - 5, "end"),
    line(p95, "p95"),
    line(mean, "mean"),
    now,
  );
  const legend = element("p", { class: "now-at", "aria-hidden": "true" });
  const mark = (fraction) => {
    const frame = Math.round(fraction * last);
    now.setAttribute("x1", x(fraction * last));
    now.setAttribute("x2", x(fraction * last));
    if (mean[frame] === null) return legend.replaceChildren(`Frame ${frame + 1}: no points, interpolated`);
    legend.replaceChildren(
      `Frame ${frame + 1}: `,
      element("span", { class: "mean" }, `mean ${number(mean[frame])}`),
      " ",
      element("span", { class: "p95" }, `95% within ${number(p95[frame])}`),
    );
  };
  mark(0);
  const box = element(
    "figure",
    {},
    svg,
    legend,
    element("figcaption", {}, "Distance from the input points to the mesh, in input units."),
  );
  return { box, mark };
}
