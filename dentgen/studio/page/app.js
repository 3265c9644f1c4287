// The page: connection, header, dialogs and keyboard.

import { ask, connect, on } from "./link.js";
import { brush, choose, fit, lastStroke, zoomBy } from "./brush.js";
import { compare, stream } from "./picture.js";
import { $, current, lock, make, play, refused, reroll, tell, toast } from "./controls.js";

const wanted = new URLSearchParams(location.hash.slice(1)).get("s");
let restored = false;

on("connected", () => {
  $("connection").className = "dot on";
  $("connection").title = "connected";
  if (wanted && !restored) { restored = true; tell("restore", { state: wanted }); }
});
on("disconnected", () => { $("connection").className = "dot off"; $("connection").title = "no connection"; });
on("problem", ({ error }) => { $("problem").hidden = !error; $("problem").textContent = error; });

/** Mark a button as busy while a question is open. */
async function busy(button, call) {
  button.setAttribute("aria-busy", "true");
  try { return await call(); } catch (error) { refused(error); return null; } finally { button.removeAttribute("aria-busy"); }
}

async function copy(words) {
  try { await navigator.clipboard.writeText(words); return true; } catch { return false; }
}
function showText(title, words, code) {
  $("saver-title").textContent = title;
  $("saver-text").textContent = words;
  $("saver-code").textContent = code;
  $("saver").showModal();
}
$("saver-copy").addEventListener("click", async () => toast((await copy($("saver-code").textContent)) ? "copied" : "the browser does not allow copying; select the text"));

$("undo").addEventListener("click", () => tell("undo"));
$("redo").addEventListener("click", () => tell("redo"));
$("variants").addEventListener("click", () => busy($("variants"), () => ask("variants")));
$("save").addEventListener("click", () => busy($("save"), async () => {
  const { folder, command, pictures } = await ask("save");
  showText("Saved", `Record, spec and ${pictures.length} pictures are in ${folder}. This builds the same pictures, byte for byte:`, command);
}));
$("spec").addEventListener("click", () => busy($("spec"), async () => {
  const { spec } = await ask("spec");
  showText((await copy(spec)) ? "Build spec, copied" : "Build spec", "Save writes it beside the record that it names.", spec);
}));
$("build").addEventListener("click", () => $("builder").showModal());
$("build-start").addEventListener("click", () => busy($("build-start"), async () => {
  const asked = { series: $("build-series").value, count: Number($("build-count").value), name: $("build-name").value.trim() };
  $("build-state").textContent = "saving…";
  try {
    const { folder, dataset, report, written, rejected } = await ask("build", asked);
    const lost = Object.entries(rejected).map(([reason, count]) => `, ${count} rejected: ${reason}`).join("");
    $("builder").close();
    showText("Built", `${written} pictures${lost}. Conditions, spec and dataset are in ${folder}; the report is ${report}. This checks it:`, `dentgen verify ${dataset}`);
    $("build-state").textContent = "The stream rests meanwhile.";
  } catch (error) { $("build-state").textContent = error.message; }
}));
on("building", ({ done, planned }) => { $("build-state").textContent = `${done} of ${planned} pictures`; });
$("link").addEventListener("click", () => busy($("link"), async () => {
  const { state } = await ask("keep");
  const url = `${location.origin}/#s=${state}`;
  history.replaceState(null, "", `#s=${state}`);
  toast((await copy(url)) ? "link copied" : `the link is ${url}`);
}));
$("before").addEventListener("click", compare);
$("fit").addEventListener("click", fit);
$("help").addEventListener("click", () => $("shortcuts").showModal());

// ---- open
$("open").addEventListener("click", openDialog);
function openDialog() { $("opener").showModal(); if (!$("records").childElementCount) list(); }
async function list() {
  $("opener-error").hidden = true;
  try {
    const { place, keys, name } = await ask("list", { place: $("place").value.trim() });
    $("place").value = name;
    $("records").replaceChildren(...keys.map((key, record) => {
      const button = make("button", { title: key }, make("img", { src: `/thumbnail/${place}/${record}`, alt: "", loading: "lazy" }), make("span", { textContent: key }));
      button.addEventListener("click", () => opened("open", { place, record }));
      return button;
    }));
  } catch (error) { $("opener-error").textContent = error.message; $("opener-error").hidden = false; }
}
async function opened(type, fields) {
  try {
    const { warnings } = await ask(type, fields);
    $("opener").close();
    if (warnings?.length) toast(warnings.join("; "));
  } catch (error) { $("opener-error").textContent = error.message; $("opener-error").hidden = false; }
}
$("list").addEventListener("click", list);
$("place").addEventListener("keydown", (event) => { if (event.key === "Enter") list(); });
$("phantom").addEventListener("click", () => busy($("phantom"), async () => {
  await opened("phantom", { seed: Number($("phantom-seed").value), view: $("phantom-view").value });
  $("phantom-seed").value = Number($("phantom-seed").value) + 1;
}));
$("open-scan").addEventListener("click", () => busy($("open-scan"), () => opened("scan", { place: $("scan").value.trim(), view: $("scan-view").value })));
$("upload").addEventListener("click", () => busy($("upload"), async () => {
  const form = new FormData();
  for (const [name, id] of [["segmentation", "upload-seg"], ["photo", "upload-photo"]]) {
    if ($(id).files[0]) form.append(name, $(id).files[0]);
  }
  const answer = await fetch("/upload", { method: "POST", body: form });
  const error = answer.ok ? "" : answer.status === 413 ? "the files are over 20 MB" : (await answer.json()).error;
  $("opener-error").textContent = error;
  $("opener-error").hidden = !error;
  if (!error) $("opener").close();
}));
$("empty").addEventListener("click", () => opened("empty", {}));

// ---- keyboard
const KEYS = {
  b: () => choose({ tool: "brush" }), e: () => choose({ tool: "erase" }), t: () => choose({ tool: "select" }), h: () => choose({ tool: "pan" }),
  "[": () => choose({ radius: Math.max(0.5, brush.radius - 1) }), "]": () => choose({ radius: Math.min(Number($("radius").max), brush.radius + 1) }),
  m: () => choose({ symmetric: !brush.symmetric }), p: play, l: lock, r: reroll, c: compare, v: () => $("variants").click(), o: openDialog,
  0: fit, "+": () => zoomBy(1.3), "=": () => zoomBy(1.3), "-": () => zoomBy(1 / 1.3), "?": () => $("shortcuts").showModal(), Escape: () => choose({ tooth: null }),
};
addEventListener("keydown", (event) => {
  const typing = event.target.matches("input:not([type=range]):not([type=checkbox]), select, textarea");
  if (document.querySelector("dialog[open]")) return;
  if ((event.ctrlKey || event.metaKey) && ["z", "y", "s"].includes(event.key.toLowerCase())) {
    if (typing && event.key.toLowerCase() !== "s") return;
    event.preventDefault();
    if (event.key.toLowerCase() === "s") $("save").click();
    else tell(event.key.toLowerCase() === "y" || event.shiftKey ? "redo" : "undo");
    return;
  }
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  if (/^[1-9]$/.test(event.key)) return document.querySelectorAll("#classes .swatch")[event.key - 1]?.click();
  const call = KEYS[event.key] ?? KEYS[event.key.toLowerCase()];
  if (call && current()) { event.preventDefault(); call(); }
});

// figures for measurements: what was sent and shown, and when
window.studio = { stream, lastStroke };
connect();
