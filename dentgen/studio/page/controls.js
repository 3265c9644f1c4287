// Palette, teeth, regions, light and settings: they show the studio's state and ask for changes.

import { ask, on } from "./link.js";
import { css, maps, show, tint } from "./maps.js";
import { brush, choose, wire } from "./brush.js";

export const $ = (id) => document.getElementById(id);
let state = null, choices = null, toastTimer = 0;
export const current = () => state;

export function toast(words) {
  $("toast").textContent = words;
  $("toast").classList.add("shown");
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => $("toast").classList.remove("shown"), 5000);
}
export const refused = (error) => toast(error.message);
export const tell = (type, fields) => ask(type, fields).catch(refused);
const settings = (values) => tell("settings", { values });

/** An element with properties and children. */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) name in element ? (element[name] = value) : element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** Call a function with what was typed, once typing pauses. */
function typed(input, call, wait = 300) {
  let timer = 0;
  const send = () => { clearTimeout(timer); timer = 0; call(input.value); };
  input.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(send, wait); });
  input.addEventListener("change", () => { if (timer) send(); });
  input.addEventListener("keydown", (event) => { if (event.key === "Enter" && timer) send(); });
}
/** Show a value unless the user is just changing it. */
function put(input, value) {
  if (document.activeElement !== input || input.type === "range") input.value = value;
  const output = document.querySelector(`output[for="${input.id}"]`);
  if (output) output.value = input.type === "range" ? String(Math.round(100 * value) / 100) : value;
}

// ---- palette
function swatches(box, entries, kind) {
  box.replaceChildren(...entries.map(({ value, name, colour }, index) => {
    const patch = make("span", { className: "colour" });
    patch.style.background = css(colour);
    const button = make("button", { className: "swatch", role: "radio", title: name }, patch, make("span", { textContent: name }));
    Object.assign(button.dataset, { kind, value });
    if (kind === "class" && index < 9) button.append(make("kbd", { textContent: index + 1 }));
    button.addEventListener("click", () => choose({ tool: brush.tool === "erase" ? "brush" : brush.tool, kind, value }));
    return button;
  }));
}

function chart() {
  const deciduous = $("deciduous").checked, last = deciduous ? 5 : 8, add = deciduous ? 40 : 0;
  const row = (right, left) => [
    ...Array.from({ length: last }, (_, i) => 10 * right + add + last - i), null, ...Array.from({ length: last }, (_, i) => 10 * left + add + 1 + i),
  ];
  for (const [box, numbers] of [[$("upper"), row(1, 2)], [$("lower"), row(4, 3)]]) {
    box.replaceChildren(...numbers.map((number) => {
      if (number === null) return make("span", { className: "midline" });
      const button = make("button", { textContent: number, title: `Paint tooth ${number}` });
      button.dataset.tooth = number;
      button.addEventListener("click", () => choose({ tool: "brush", kind: "tooth", value: number }));
      return button;
    }));
  }
  showBrush();
}

function showBrush() {
  for (const each of document.querySelectorAll("[data-tool]")) each.setAttribute("aria-checked", String(each.dataset.tool === brush.tool));
  for (const each of document.querySelectorAll(".swatch")) each.setAttribute("aria-checked", String(each.dataset.kind === brush.kind && Number(each.dataset.value) === brush.value));
  for (const each of document.querySelectorAll("[data-tooth]")) {
    const number = Number(each.dataset.tooth), present = state?.teeth.includes(number) ?? false;
    each.setAttribute("aria-pressed", String(brush.kind === "tooth" && brush.value === number));
    each.classList.toggle("present", present);
    each.setAttribute("aria-label", `Tooth ${number}${present ? ", in the picture" : ""}`);
  }
  for (const each of document.querySelectorAll(".layer")) each.classList.toggle("chosen", brush.kind === "layer" && Number(each.dataset.number) === brush.value);
  $("radius").value = brush.radius;
  $("radius-value").value = `${brush.radius} px`;
  $("symmetric").checked = brush.symmetric;
  $("selection").hidden = brush.tooth === null;
  $("selection").firstElementChild.textContent = typeof brush.tooth === "number" ? `only tooth ${brush.tooth}` : "only this tooth";
}
wire(showBrush, refused);

for (const each of document.querySelectorAll("button[data-tool]")) each.addEventListener("click", () => choose({ tool: each.dataset.tool }));
$("radius").addEventListener("input", ({ target }) => choose({ radius: Number(target.value) }));
$("symmetric").addEventListener("change", ({ target }) => choose({ symmetric: target.checked }));
$("unselect").addEventListener("click", () => choose({ tooth: null }));
$("deciduous").addEventListener("change", chart);
$("mode").addEventListener("change", ({ target }) => show(target.value));

// ---- tabs
const tabs = [...document.querySelectorAll("[role=tab]")];
for (const [index, tab] of tabs.entries()) {
  const open = () => {
    for (const each of tabs) {
      each.setAttribute("aria-selected", String(each === tab));
      each.tabIndex = each === tab ? 0 : -1;
      $(each.getAttribute("aria-controls")).hidden = each !== tab;
    }
  };
  tab.addEventListener("click", open);
  tab.addEventListener("keydown", ({ key }) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[key];
    if (step) { const next = tabs[(index + step + tabs.length) % tabs.length]; next.click(); next.focus(); }
  });
}

// ---- regions
function layerRow(layer) {
  const number = layer.number, change = (values) => tell("change layer", { number, ...values });
  const name = make("input", { value: layer.name, maxLength: 80, "aria-label": "Name of the region" });
  const prompt = make("input", { value: layer.prompt, maxLength: 4000, placeholder: "prompt: what is here", "aria-label": `Prompt of ${layer.name}` });
  const negative = make("input", { value: layer.negative_prompt, maxLength: 4000, title: "Acts with guidance above 1", placeholder: "negative prompt, with guidance", "aria-label": `Negative prompt of ${layer.name}` });
  name.dataset.field = "name"; prompt.dataset.field = "prompt"; negative.dataset.field = "negative_prompt";
  typed(name, (value) => value && change({ name: value }));
  typed(prompt, (value) => change({ prompt: value }));
  typed(negative, (value) => change({ negative_prompt: value }));
  const slider = (field, label, max, step) => {
    const id = `layer-${number}-${field}`, input = make("input", { id, type: "range", min: 0, max, step, value: layer[field] });
    const output = make("output", { textContent: layer[field] });
    output.setAttribute("for", id);
    input.dataset.field = field;
    input.addEventListener("input", () => { output.value = input.value; });
    typed(input, (value) => change({ [field]: Number(value) }), 120);
    return make("div", { className: "field" }, make("label", { htmlFor: id, textContent: label }), output, input);
  };
  const button = (words, title, call) => { const each = make("button", { textContent: words, title, "aria-label": title }); each.addEventListener("click", call); return each; };
  const row = make("li", { className: "layer" },
    make("div", { className: "row" }, name,
      button(layer.visible ? "Hide" : "Show", layer.visible ? "Hide the region" : "Show the region", () => change({ visible: !layer.visible })),
      button("↑", "Up", () => tell("move layer", { number, by: 1 })), button("↓", "Down", () => tell("move layer", { number, by: -1 })),
      button("×", "Remove the region", () => tell("remove layer", { number }))),
    prompt,
    make("div", { className: "row" }, button("Paint it", "Paint where this region is", () => choose({ tool: "brush", kind: "layer", value: number }))),
    make("details", {}, make("summary", { textContent: "More" }), negative, slider("strength", "Strength", 1, 0.02), slider("prompt_strength", "Prompt strength", 1, 0.02), slider("blur", "Soft edge, px", 32, 0.5)));
  row.dataset.number = number;
  row.style.setProperty("--tint", css(tint(layer)));
  return row;
}

function showLayers() {
  const box = $("layers"), shown = JSON.stringify(state.layers.map(({ number, visible }) => [number, visible]));
  if (box.dataset.shown !== shown) {
    const opened = new Set([...box.querySelectorAll("details[open]")].map((each) => each.closest(".layer").dataset.number));
    box.replaceChildren(...[...state.layers].reverse().map(layerRow));
    for (const each of box.children) each.querySelector("details").open = opened.has(each.dataset.number);
    box.dataset.shown = shown;
  } else {
    for (const layer of state.layers) {
      for (const input of box.querySelectorAll(`[data-number="${layer.number}"] [data-field]`)) put(input, layer[input.dataset.field]);
    }
  }
  $("add-layer").disabled = state.layers.length >= choices.max_layers;
}
$("add-layer").addEventListener("click", async () => {
  const answer = await ask("add layer", { prompt: state.prompt }).catch(refused);
  if (answer) choose({ tool: "brush", kind: "layer", value: answer.number });
});

// ---- light
const lamp = { x: 0, y: 0 };
let lightGesture = "", lightBusy = false, lightAgain = false;
async function relight() {
  $("lamp-disc").style.setProperty("--lx", `${50 + 50 * lamp.x}%`);
  $("lamp-disc").style.setProperty("--ly", `${50 - 50 * lamp.y}%`);
  $("lamp-disc").setAttribute("aria-valuetext", `${Math.round(100 * lamp.x)} % right, ${Math.round(100 * lamp.y)} % up`);
  if (lightBusy) { lightAgain = true; return; }
  lightBusy = true;
  const [direct, ambient, gloss] = ["direct", "ambient", "gloss"].map((id) => Number($(id).value));
  await tell("light", { gesture: lightGesture, light: { lamps: [{ ...lamp, strength: 1 }], direct, ambient, gloss } });
  lightBusy = false;
  if (lightAgain) { lightAgain = false; relight(); }
}
const newLightGesture = () => { lightGesture = `light ${Math.random().toString(36).slice(2)}`; };
function moveLamp(x, y) {
  const length = Math.max(1, Math.hypot(x, y));
  Object.assign(lamp, { x: x / length, y: y / length });
  relight();
}
const disc = $("lamp-disc");
const fromPointer = ({ clientX, clientY }) => { const box = disc.getBoundingClientRect(); moveLamp((clientX - box.left) / box.width * 2 - 1, 1 - (clientY - box.top) / box.height * 2); };
disc.addEventListener("pointerdown", (event) => { disc.setPointerCapture(event.pointerId); newLightGesture(); fromPointer(event); });
disc.addEventListener("pointermove", (event) => { if (disc.hasPointerCapture(event.pointerId)) fromPointer(event); });
disc.addEventListener("keydown", (event) => {
  const step = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, 0.1], ArrowDown: [0, -0.1] }[event.key];
  if (step) { event.preventDefault(); newLightGesture(); moveLamp(lamp.x + step[0], lamp.y + step[1]); }
});
for (const input of document.querySelectorAll("[data-light]")) {
  put(input, input.value);
  input.addEventListener("pointerdown", newLightGesture);
  input.addEventListener("input", () => { put(input, input.value); relight(); });
}

// ---- settings
for (const [id, key, number] of [["steps", "steps", true], ["guidance", "guidance_scale", true], ["count", "variants", true], ["seed", "seed", true], ["background", "background", true], ["negative", "negative_prompt", false]]) {
  $(id).addEventListener("input", ({ target }) => { const output = document.querySelector(`output[for="${id}"]`); if (output) output.value = target.value; });
  typed($(id), (value) => settings({ [key]: number ? Number(value) : value }), 200);
}
$("scheduler").addEventListener("change", ({ target }) => settings({ scheduler: target.value }));
export const reroll = () => settings({ seed: Math.floor(Math.random() * 2 ** 31) });
$("reroll").addEventListener("click", reroll);
export const play = () => settings({ playing: !state.settings.playing });
export const lock = () => settings({ locked: !state.settings.locked });
$("play").addEventListener("click", play);
$("lock").addEventListener("click", lock);
typed($("prompt"), (prompt) => tell("prompt", { prompt }));

function adapters(scales) {
  const box = $("adapters");
  if (box.dataset.names !== Object.keys(scales).join()) {
    box.dataset.names = Object.keys(scales).join();
    box.replaceChildren(...Object.keys(scales).map(adapterBox));
  }
  for (const [name, scale] of Object.entries(scales)) {
    const byClass = typeof scale === "object";
    for (const input of box.querySelectorAll(`[data-adapter="${CSS.escape(name)}"]`)) {
      const own = input.dataset.class;
      put(input, own ? (byClass ? scale[own] ?? 1 : scale) : byClass ? 1 : scale);
      input.closest(".field").hidden = Boolean(own) !== byClass;
    }
    const check = box.querySelector(`[data-by-class="${CSS.escape(name)}"]`);
    check.checked = byClass;
  }
}
function adapterBox(name) {
  const slider = (own) => {
    const id = `adapter-${name}-${own ?? "all"}`.replace(/\W+/g, "-");
    const input = make("input", { id, type: "range", min: 0, max: 3, step: 0.05 }), output = make("output", {});
    output.setAttribute("for", id);
    input.dataset.adapter = name;
    if (own) input.dataset.class = own;
    input.addEventListener("input", () => { output.value = input.value; });
    typed(input, (value) => {
      const scale = own ? { ...state.settings.adapters[name], [own]: Number(value) } : Number(value);
      settings({ adapters: { ...state.settings.adapters, [name]: scale } });
    }, 200);
    return make("div", { className: "field" }, make("label", { htmlFor: id, textContent: own ?? `Scale of ${name}` }), output, input);
  };
  const check = make("input", { type: "checkbox" });
  check.dataset.byClass = name;
  check.addEventListener("change", () => {
    const scale = state.settings.adapters[name];
    const next = check.checked ? { tooth: scale, gingiva: scale, restoration: scale, background: scale } : Object.values(scale)[0] ?? 1;
    settings({ adapters: { ...state.settings.adapters, [name]: next } });
  });
  const classes = ["tooth", "gingiva", "restoration", "appliance", "background"];
  return make("div", {}, make("label", { className: "check" }, check, `${name}: a scale per class`), slider(null), ...classes.map(slider));
}

// ---- what the studio says
on("choices", (message) => {
  choices = message;
  swatches($("classes"), message.classes, "class");
  swatches($("findings"), message.findings, "finding");
  $("findings-box").hidden = !message.use.includes("findings");
  $("scheduler").replaceChildren(...message.schedulers.map((name) => make("option", { value: name, textContent: name })));
  $("scheduler").closest(".field").hidden = !message.schedulers.length;
  for (const id of ["phantom-view", "scan-view"]) $(id).replaceChildren(...message.views.map((name) => make("option", { value: name, textContent: name })));
  $("radius").max = Math.round(message.width / 6);
  chart();
});

const MODES = { blend: "Classes + light", segmentation: "Classes", fdi: "Teeth", lighting: "Lighting", normal: "Normals", curvature: "Curvature", depth: "Depth", findings: "Findings" };
on("state", (message) => {
  state = message;
  $("key").textContent = state.key;
  $("key").title = state.key;
  put($("prompt"), state.prompt);
  $("undo").disabled = !state.undo;
  $("redo").disabled = !state.redo;
  const { seed, steps, guidance_scale, variants, negative_prompt, scheduler, background, playing, locked } = state.settings;
  for (const [id, value] of [["seed", seed], ["steps", steps], ["guidance", guidance_scale], ["count", variants], ["negative", negative_prompt], ["background", background], ["scheduler", scheduler]]) put($(id), value);
  $("negative").disabled = guidance_scale === 1;
  $("background").disabled = !state.photo && !background;
  $("negative").placeholder = guidance_scale === 1 ? "needs guidance above 1" : "";
  $("play").setAttribute("aria-pressed", String(playing));
  $("play").textContent = playing ? "Pause" : "Play";
  $("lock").setAttribute("aria-pressed", String(locked));
  adapters(state.settings.adapters);
  const modes = ["blend", ...state.planes].filter((name) => name in MODES).join();
  if ($("mode").dataset.modes !== modes) {
    $("mode").dataset.modes = modes;
    $("mode").replaceChildren(...modes.split(",").map((value) => make("option", { value, textContent: MODES[value] })));
    $("mode").value = maps.mode;
  }
  const relit = state.planes.includes("normal");
  $("light-hint").textContent = relit ? "Drag the lamp: the lighting map follows." : "This record has no normals, so its light cannot be changed.";
  $("lamp-disc").hidden = !relit;
  if (brush.kind === "layer" && !state.layers.some((each) => each.number === brush.value)) choose({ kind: "class", value: 2 });
  showLayers();
  showBrush();
});
