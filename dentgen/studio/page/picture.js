// The pictures: the stream, its rate, the comparison with an earlier one, variants and the judges' figures.

import { on } from "./link.js";
import { maps } from "./maps.js";

const picture = document.getElementById("picture"), under = document.getElementById("under-canvas");
const kept = document.getElementById("before-picture"), wipe = document.getElementById("wipe");
const NAMES = {
  miou: ["Labels (mIoU)", 3], tooth_recall: ["Teeth found", 2], boundary_f1: ["Boundaries", 2], bleed_in: ["Gum in teeth", 3],
  bleed_out: ["Teeth in gum", 3], shift: ["Shift, px", 1], light_correlation: ["Light", 2], sharpness: ["Sharpness", 2],
};
// when a picture first showed something of a change, and when the first one that was made after it was whole
export const stream = { frames: 0, number: -1, version: -1, latest: -1, changed: 0, whole: 0, times: [] };
let drawing = Promise.resolve();

on("frame", (header, bytes) => {
  drawing = drawing.then(async () => {
    const bitmap = await createImageBitmap(new Blob([bytes], { type: "image/png" }));
    for (const canvas of [picture, under]) paint(canvas, bitmap);
    bitmap.close();
    if (header.latest !== stream.latest) stream.changed = performance.now();
    if (header.version !== stream.version) stream.whole = performance.now();
    Object.assign(stream, { number: header.number, version: header.version, latest: header.latest, frames: stream.frames + 1 });
    picture.dataset.number = header.number;
    picture.dataset.version = header.version;
    document.getElementById("waiting").hidden = true;
    rate();
  });
});

function paint(canvas, bitmap) {
  if (canvas.width !== bitmap.width) canvas.width = bitmap.width;
  if (canvas.height !== bitmap.height) canvas.height = bitmap.height;
  canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
}

function rate() {
  const now = performance.now();
  stream.times = [...stream.times.filter((time) => now - time < 4000), now];
  const count = stream.times.length - 1;
  document.getElementById("rate").value = count < 1 ? "" : `${(1000 * count / Math.max(1, now - stream.times[0])).toFixed(1)} fps`;
}
// a stream that rests says so
setInterval(() => { if (stream.times.length && performance.now() - stream.times.at(-1) > 3000) document.getElementById("rate").value = "at rest"; }, 1000);

on("choices", ({ width, height }) => {
  for (const each of document.querySelectorAll(".frame")) each.style.setProperty("--aspect", width / height);
});

export function compare() {
  const shown = kept.hidden;
  if (shown) { kept.width = picture.width; kept.height = picture.height; kept.getContext("2d").drawImage(picture, 0, 0); }
  kept.hidden = wipe.hidden = !shown;
  document.getElementById("before").setAttribute("aria-pressed", String(shown));
}
wipe.addEventListener("input", () => kept.style.setProperty("--wipe", `${wipe.value}%`));
document.getElementById("under").addEventListener("input", ({ target }) => {
  // "under" the map: the map gets transparent
  document.getElementById("map-canvas").style.opacity = String(1 - target.value);
});

on("variant", ({ key, number, count }, bytes) => {
  const strip = document.getElementById("strip");
  if (number === 0) strip.replaceChildren();
  strip.hidden = false;
  const figure = document.createElement("figure"), canvas = document.createElement("canvas"), caption = document.createElement("figcaption");
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `Variant ${number + 1} of ${count}`);
  caption.textContent = key.slice(-5).replace(/^-/, "");
  caption.title = key;
  figure.append(canvas, caption);
  strip.append(figure);
  createImageBitmap(new Blob([bytes], { type: "image/png" })).then((bitmap) => paint(canvas, bitmap));
});

on("figures", ({ figures, findings, version }) => {
  const known = Object.entries(NAMES).filter(([name]) => name in figures);
  const groups = [
    ...known.map(([name, [label, digits]]) => shownFigure(name, label, figures[name].toFixed(digits), label)),
    ...findings.map(({ name, found, inside, outside }) => shownFigure("finding", name, found ? "found" : "not found",
      `${percent(inside)} of its area shows it, ${percent(outside)} elsewhere`, found ? "found" : "missed")),
  ];
  for (const group of groups) group.classList.toggle("older", version < stream.version);
  document.getElementById("figures").replaceChildren(...groups);
});
const percent = (share) => `${Math.round(100 * share)} %`;
function shownFigure(name, label, words, title, kind = "") {
  const group = document.createElement("div"), term = document.createElement("dt"), value = document.createElement("dd");
  term.textContent = label;
  value.textContent = words;
  value.dataset.figure = name;
  group.title = title;
  if (kind) group.classList.add(kind);
  group.append(term, value);
  return group;
}

export { maps };
