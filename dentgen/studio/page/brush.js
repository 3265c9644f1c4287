// Painting: what the pointer does on the canvas is shown at once and sent to the studio, which holds the truth.

import { ask } from "./link.js";
import { at, css, maps, onMaps, tint, toothColour } from "./maps.js";

const frame = document.getElementById("canvas-frame"), sheet = document.getElementById("sheet");
const canvas = document.getElementById("paint-canvas");
export const brush = { tool: "brush", kind: "class", value: 2, radius: 4, symmetric: false, tooth: null };
const view = { zoom: 1, x: 0, y: 0 };
let stroke = null, hover = null, space = false, listener = () => {}, failed = () => {};
const strokes = { sent: 0, ended: 0 };

/** Call functions when the brush changes, and when a stroke is refused. */
export function wire(changed, refused) { listener = changed; failed = refused; }
export function choose(values) { Object.assign(brush, values); frame.dataset.tool = brush.tool; echo(); listener(); }
export const lastStroke = () => strokes;

function place(event) {
  const box = canvas.getBoundingClientRect();
  return [(event.clientX - box.left) / box.width * maps.width, (event.clientY - box.top) / box.height * maps.height].map((v) => Math.round(v * 100) / 100);
}

function colour() {
  if (brush.tool === "erase") return "rgb(255 255 255 / 45%)";
  if (brush.kind === "tooth") return css(toothColour(brush.value));
  if (brush.kind === "layer") return css(tint({ number: brush.value }));
  return css((brush.kind === "finding" ? maps.findings : maps.classes).get(brush.value)?.colour ?? [255, 255, 255]);
}

function wanted() {
  if (brush.tool === "erase") return brush.kind === "layer" ? { kind: "unlayer", value: brush.value } : { kind: "erase", value: 0 };
  return { kind: brush.kind, value: brush.value };
}

const pointers = new Map();
let pinch = null;

canvas.addEventListener("pointerdown", (event) => {
  canvas.focus({ preventScroll: true });
  canvas.setPointerCapture(event.pointerId);
  pointers.set(event.pointerId, event);
  if (pointers.size === 2) return startPinch();
  if (brush.tool === "pan" || space || event.button === 1) { stroke = { pan: [event.clientX - view.x, event.clientY - view.y] }; return; }
  if (event.button !== 0) return;
  const [x, y] = place(event);
  if (brush.tool === "select") return select(Math.floor(x), Math.floor(y));
  stroke = { gesture: crypto.randomUUID?.() ?? `${performance.now()}`, points: [[x, y]], sent: 0, brush: wanted(), radius: brush.radius, symmetric: brush.symmetric };
  if (brush.tooth !== null) stroke.within = brush.tooth;
  flush();
  echo();
});

canvas.addEventListener("pointermove", (event) => {
  if (pointers.has(event.pointerId)) pointers.set(event.pointerId, event);
  if (pinch && pointers.size === 2) return movePinch();
  hover = place(event);
  if (stroke?.pan) { view.x = event.clientX - stroke.pan[0]; view.y = event.clientY - stroke.pan[1]; applyView(); return; }
  if (stroke) {
    const events = event.getCoalescedEvents?.() ?? [];
    for (const each of events.length ? events : [event]) stroke.points.push(place(each));
    if (!stroke.timer) stroke.timer = setTimeout(flush, 60);
  }
  echo();
});

for (const type of ["pointerup", "pointercancel"]) {
  canvas.addEventListener(type, (event) => {
    pointers.delete(event.pointerId);
    if (pointers.size < 2) pinch = null;
    if (stroke && !stroke.pan) { flush(true); strokes.ended = performance.now(); }
    stroke = null;
    echo();
  });
}
canvas.addEventListener("pointerleave", () => { hover = null; echo(); });
canvas.addEventListener("auxclick", (event) => event.preventDefault());
canvas.addEventListener("contextmenu", (event) => event.preventDefault());

/** Send the points that were not sent yet, joined to the last one that was. */
function flush() {
  const current = stroke;
  if (!current || current.pan) return;
  clearTimeout(current.timer);
  current.timer = null;
  const from = Math.max(0, current.sent - 1), points = current.points.slice(from);
  if (current.sent === current.points.length) return;
  current.sent = current.points.length;
  const { gesture, radius, symmetric, within } = current;
  strokes.sent++;
  ask("stroke", { stroke: { gesture, points, radius, symmetric, brush: current.brush, ...(within === undefined ? {} : { within }) } }).catch(failed);
}

function select(x, y) {
  const number = at("fdi", x, y), seg = at("segmentation", x, y);
  if (number) choose({ tooth: number, tool: "brush" });
  else if ([2, 4, 5].includes(seg)) choose({ tooth: [x + 0.5, y + 0.5], tool: "brush" });
  else failed(new Error("no tooth there"));
}

/** Show the brush, the stroke that is not in the maps yet, and the outline of the chosen tooth. */
function echo() {
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, maps.width, maps.height);
  if (stroke && !stroke.pan) trace(context, stroke.points, stroke.radius);
  outline(context);
  if (hover && !stroke && (brush.tool === "brush" || brush.tool === "erase")) {
    context.strokeStyle = colour();
    context.lineWidth = Math.max(0.5, maps.width / 400);
    for (const x of brush.symmetric ? [hover[0], maps.width - hover[0]] : [hover[0]]) {
      context.beginPath();
      context.arc(x, hover[1], Math.max(brush.radius, 0.75), 0, 7);
      context.stroke();
    }
  }
}

function trace(context, points, radius) {
  context.strokeStyle = context.fillStyle = colour();
  context.globalAlpha = 0.55;
  context.lineWidth = 2 * Math.max(radius, 0.75);
  context.lineCap = context.lineJoin = "round";
  for (const mirror of brush.symmetric ? [false, true] : [false]) {
    context.beginPath();
    points.forEach(([x, y], i) => context[i ? "lineTo" : "moveTo"](mirror ? maps.width - x : x, y));
    if (points.length === 1) context.lineTo((mirror ? maps.width - points[0][0] : points[0][0]) + 0.01, points[0][1]);
    context.stroke();
  }
  context.globalAlpha = 1;
}

function outline(context) {
  const fdi = maps.planes.get("fdi")?.data;
  if (typeof brush.tooth !== "number" || !fdi) return;
  context.fillStyle = "rgb(255 255 255 / 80%)";
  for (let y = 1; y < maps.height - 1; y++) {
    for (let x = 1, i = y * maps.width + 1; x < maps.width - 1; x++, i++) {
      if (fdi[i] === brush.tooth && [fdi[i - 1], fdi[i + 1], fdi[i - maps.width], fdi[i + maps.width]].some((n) => n !== brush.tooth)) context.fillRect(x, y, 1, 1);
    }
  }
}
onMaps(echo);

// ---- zoom and pan
function applyView() {
  view.zoom = Math.min(16, Math.max(1, view.zoom));
  const { width, height } = frame.getBoundingClientRect();
  view.x = Math.min(0, Math.max(width * (1 - view.zoom), view.x));
  view.y = Math.min(0, Math.max(height * (1 - view.zoom), view.y));
  sheet.style.transform = `translate(${view.x}px, ${view.y}px) scale(${view.zoom})`;
}
export function zoomBy(factor, at) {
  const box = frame.getBoundingClientRect(), before = view.zoom;
  const [x, y] = at ?? [box.width / 2, box.height / 2];
  view.zoom = Math.min(16, Math.max(1, view.zoom * factor));
  view.x = x - (x - view.x) * view.zoom / before;
  view.y = y - (y - view.y) * view.zoom / before;
  applyView();
}
export function fit() { Object.assign(view, { zoom: 1, x: 0, y: 0 }); applyView(); }
frame.addEventListener("wheel", (event) => {
  event.preventDefault();
  const box = frame.getBoundingClientRect();
  zoomBy(Math.exp(-event.deltaY * (event.deltaMode ? 0.06 : 0.002)), [event.clientX - box.left, event.clientY - box.top]);
}, { passive: false });
addEventListener("keydown", (event) => { if (event.code === "Space" && event.target === canvas) { space = true; event.preventDefault(); } });
addEventListener("keyup", (event) => { if (event.code === "Space") space = false; });

function apart() {
  const [a, b] = [...pointers.values()];
  const box = frame.getBoundingClientRect();
  return { distance: Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY), x: (a.clientX + b.clientX) / 2 - box.left, y: (a.clientY + b.clientY) / 2 - box.top };
}
function startPinch() { stroke = null; pinch = apart(); echo(); }
function movePinch() {
  const now = apart();
  view.x += now.x - pinch.x;
  view.y += now.y - pinch.y;
  zoomBy(now.distance / Math.max(1, pinch.distance), [now.x, now.y]);
  pinch = now;
}
