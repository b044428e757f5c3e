// Heat map of the error: the distance between input points and mesh, frame by frame, in colors.

import { Nearest } from "./nearest.js";

// Five colors of Turbo by A. Mikhailov, from 0.1 to 0.9: none is lost on a light or on a dark ground.
const RAMP = ["#455bcd", "#1bcfd5", "#a4fc3c", "#fba238", "#ca2a04"].map((hex) =>
  [1, 3, 5].map((at) => Number.parseInt(hex.slice(at, at + 2), 16) / 255),
);

// Red, green and blue, 0 to 1, of a share of the largest distance.
export function heat(share) {
  const place = Math.min(1, Math.max(0, share)) * (RAMP.length - 1);
  const low = Math.min(Math.floor(place), RAMP.length - 2);
  return RAMP[low].map((value, i) => value + (place - low) * (RAMP[low + 1][i] - value));
}

export function drawRamp(canvas) {
  const pen = canvas.getContext("2d");
  for (let x = 0; x < canvas.width; x += 1) {
    const [red, green, blue] = heat(x / (canvas.width - 1)).map((value) => Math.round(255 * value));
    pen.fillStyle = `rgb(${red} ${green} ${blue})`;
    pen.fillRect(x, 0, 1, canvas.height);
  }
}

// Distances in one frame: of each point [3 N] to the triangles, and for each vertex [3 V] that of its nearest point.
export function distances(points, vertices, triangles) {
  const each = (positions, value) =>
    Float32Array.from({ length: positions.length / 3 }, (_, i) => value(...positions.subarray(3 * i, 3 * i + 3)));
  const [surface, cloud] = [new Nearest(vertices, triangles), new Nearest(points)];
  const ofPoints = each(points, (...place) => surface.distance(...place));
  const ofVertices = each(vertices, (...place) => {
    cloud.distance(...place);
    return ofPoints[cloud.member];
  });
  return { points: ofPoints, vertices: ofVertices };
}

// Colors [3 N] of distances; those from `most` on look alike. three.js expects linear values, the ramp is sRGB.
export function colorsOf(values, most) {
  const colors = new Float32Array(3 * values.length);
  values.forEach((value, i) => colors.set(heat(value / most).map(linear), 3 * i));
  return colors;
}

const linear = (value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
