// Times of frames, as service/core/sequences/times.py tells them: {times: [seconds since the first frame], rate: whether
// a frame rate scales them, since they count frames}, or null where nothing tells the times.

export const UNTIMED_FPS = 24; // of frames that are merely counted
const UNITS = [[1e17, 1e9], [1e14, 1e6], [1e11, 1e3]]; // of times from such magnitudes on, as many a second
const NO_TIME = 1e20; // numbers from here on are neither times nor counts

// Of times in seconds, or in milli-, micro- or nanoseconds since 1970.
export function timesOf(values) {
  const [, perSecond] = UNITS.find(([least]) => values[0] >= least && values.at(-1) < 1000 * least) ?? [0, 1];
  return { times: Array.from(values, (value) => (value - values[0]) / perSecond), rate: false };
}

// Of increasing numbers, some of which may be missing.
export function timesOfNumbers(numbers) {
  const [first, last] = [numbers[0], numbers.at(-1)];
  if (last >= NO_TIME) return null;
  if (first >= 1e11) return timesOf(numbers);
  const step = numbers.map((number) => number - first).reduce(divisor) || 1;
  return { times: numbers.map((number) => (number - first) / step / UNTIMED_FPS), rate: true };
}

// Of the names of files in natural order, which differ by a number.
export function timesOfNames(names) {
  const stems = names.map((name) => name.replace(/\.[^./]*$/, ""));
  const last = stems.map((stem) => stem.split("/").at(-1));
  if (last.every((stem) => /^\d{1,18}\.\d{1,9}$/.test(stem))) {
    const seconds = last.map(Number);
    return increase(seconds) ? { times: seconds.map((second) => second - seconds[0]), rate: false } : null;
  }
  const parts = stems.map((stem) => stem.split(/(\d+)/)); // texts at even places, digits between them
  if (new Set(parts.map((part) => part.filter((_, i) => i % 2 === 0).join("\0"))).size > 1) return null;
  const differing = parts[0].map((_, i) => i).filter((i) => new Set(parts.map((part) => part[i])).size > 1);
  if (differing.length !== 1) return null;
  const numbers = parts.map((part) => Number(part[differing[0]]));
  return increase(numbers) ? timesOfNumbers(numbers) : null;
}

const increase = (numbers) => numbers.every((number, t) => t === 0 || number > numbers[t - 1]);

const divisor = (a, b) => (b ? divisor(b, a % b) : a); // the greatest common one
