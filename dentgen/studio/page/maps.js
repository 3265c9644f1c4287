// The maps as the studio holds them, and how they are drawn.

import { on } from "./link.js";

export const maps = { width: 1, height: 1, planes: new Map(), classes: new Map(), findings: new Map(), mode: "blend", layers: [] };
const changed = new Set();
const canvas = document.getElementById("map-canvas");

export const TINTS = [[45, 212, 191], [251, 146, 60], [167, 139, 250], [244, 114, 182], [163, 230, 53], [96, 165, 250], [250, 204, 21], [248, 113, 113]];
export const tint = (layer) => TINTS[(layer.number - 1) % TINTS.length];
export const css = ([r, g, b]) => `rgb(${r} ${g} ${b})`;
/** Distinct hues for tooth numbers: neighbours differ. */
export const toothColour = (n) => {
  const hue = ((n % 10) * 137 + Math.floor(n / 10) * 47) % 360;
  return hsl(hue, 0.62, 0.58);
};

function hsl(h, s, l) {
  const a = s * Math.min(l, 1 - l);
  const part = (n) => { const k = (n + h / 30) % 12; return Math.round(255 * (l - a * Math.max(-1, Math.min(k - 3, 9 - k, 1)))); };
  return [part(0), part(8), part(4)];
}

/** Call a function after maps were redrawn. */
export const onMaps = (listener) => changed.add(listener);
export const at = (name, x, y) => maps.planes.get(name)?.data[y * maps.width + x] ?? 0;

on("choices", (message) => {
  Object.assign(maps, { width: message.width, height: message.height });
  maps.classes = new Map(message.classes.map((each) => [each.value, each]));
  maps.findings = new Map(message.findings.map((each) => [each.value, each]));
  for (const id of ["map-canvas", "paint-canvas", "under-canvas"]) {
    const each = document.getElementById(id);
    each.width = maps.width;
    each.height = maps.height;
  }
});

on("plane", ({ name, top, left, height, width, channels }, bytes) => {
  let plane = maps.planes.get(name);
  if (!plane || plane.channels !== channels || plane.data.length !== maps.width * maps.height * channels) {
    plane = { channels, data: new Uint8Array(maps.width * maps.height * channels) };
    maps.planes.set(name, plane);
  }
  for (let row = 0; row < height; row++) {
    plane.data.set(bytes.subarray(row * width * channels, (row + 1) * width * channels), ((top + row) * maps.width + left) * channels);
  }
  redraw({ top, left, height, width });
});

on("state", (state) => {
  for (const name of [...maps.planes.keys()]) {
    const layer = state.layers.some((each) => `layer ${each.number}` === name);
    if (!layer && !state.planes.includes(name)) maps.planes.delete(name);
  }
  maps.layers = state.layers;
  redraw();
});

export function show(mode) { maps.mode = mode; redraw(); }

let pending = null;
export function redraw(part = { top: 0, left: 0, height: maps.height, width: maps.width }) {
  if (pending === null) requestAnimationFrame(draw);
  pending = pending === null ? { ...part } : joined(pending, part);
}

function joined(a, b) {
  const top = Math.min(a.top, b.top), left = Math.min(a.left, b.left);
  const bottom = Math.max(a.top + a.height, b.top + b.height), right = Math.max(a.left + a.width, b.left + b.width);
  return { top, left, height: bottom - top, width: right - left };
}

function draw() {
  const { top, left, height, width } = pending;
  pending = null;
  const colour = painter(), image = new ImageData(width, height), out = image.data;
  const masks = maps.layers.filter((each) => each.visible).map((each) => [maps.planes.get(`layer ${each.number}`)?.data, tint(each)]).filter(([data]) => data);
  const pixel = [0, 0, 0];
  for (let y = 0, o = 0; y < height; y++) {
    for (let x = 0, i = (top + y) * maps.width + left; x < width; x++, i++, o += 4) {
      colour(i, pixel);
      for (const [mask, hue] of masks) {
        if (mask[i]) for (let c = 0; c < 3; c++) pixel[c] = 0.5 * pixel[c] + 0.5 * hue[c];
      }
      out[o] = pixel[0]; out[o + 1] = pixel[1]; out[o + 2] = pixel[2]; out[o + 3] = 255;
    }
  }
  canvas.getContext("2d").putImageData(image, left, top);
  for (const listener of changed) listener();
}

/** A function that writes the colour of pixel i. */
function painter() {
  const data = (name) => maps.planes.get(name)?.data;
  const palette = (known, i) => known.get(i)?.colour ?? [0, 0, 0];
  const seg = data("segmentation"), light = data("lighting"), fdi = data("fdi"), lesion = data("findings");
  switch (maps.mode) {
    case "segmentation": return (i, p) => set(p, palette(maps.classes, seg?.[i] ?? 0));
    case "fdi": return (i, p) => set(p, fdi?.[i] ? toothColour(fdi[i]) : [34, 38, 44]);
    case "findings": return (i, p) => set(p, lesion && maps.findings.has(lesion[i]) ? palette(maps.findings, lesion[i]) : palette(maps.classes, seg?.[i] ?? 0));
    case "blend": return (i, p) => {
      const own = lesion && maps.findings.has(lesion[i]) ? palette(maps.findings, lesion[i]) : palette(maps.classes, seg?.[i] ?? 0);
      const level = light?.[i] ?? 128;
      for (let c = 0; c < 3; c++) p[c] = own[c] * (0.35 + 0.75 * level / 255);
    };
    default: {
      const plane = maps.planes.get(maps.mode);
      if (!plane) return (i, p) => set(p, [0, 0, 0]);
      const { channels, data: values } = plane;
      return channels === 3 ? (i, p) => set(p, [values[3 * i], values[3 * i + 1], values[3 * i + 2]])
        : (i, p) => { p[0] = p[1] = p[2] = values[i]; };
    }
  }
}

const set = (pixel, colour) => { pixel[0] = colour[0]; pixel[1] = colour[1]; pixel[2] = colour[2]; };
