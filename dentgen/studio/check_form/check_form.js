// The form of a check sheet: one picture at a time, keys for verdicts, answers kept in the browser and saved as a file.
"use strict";

const byId = (id) => document.getElementById(id);
const sheet = JSON.parse(byId("data").dataset.sheet);
const pictures = [...byId("data").children].map((each) => each.dataset);
const reasons = [...byId("reasons").children];
const slot = `dentgen-check-${sheet.index_sha256}-${sheet.count}-${sheet.seed}`;
const history = [];
let { id, verdicts } = restored();
let current = Math.max(0, pictures.findIndex((each) => !(each.key in verdicts)));

// A sheet of one person has a name of its own, drawn at random, so that two people with equal answers are two.
function fresh() {
  const bytes = crypto.getRandomValues(new Uint8Array(8));
  return { id: [...bytes].map((each) => each.toString(16).padStart(2, "0")).join(""), verdicts: Object.create(null) };
}

function restored() {
  try {
    const kept = JSON.parse(localStorage.getItem(slot) ?? "null");
    return kept === null ? fresh() : { id: kept.id, verdicts: Object.assign(Object.create(null), kept.verdicts) };
  } catch {
    return fresh(); // storage is switched off, or holds something else
  }
}

function startAnew() {
  ({ id, verdicts } = fresh());
  history.length = 0;
  keep();
  byId("status").textContent = "A new sheet for another person.";
  show(0);
}

function keep() {
  try {
    localStorage.setItem(slot, JSON.stringify({ id, verdicts }));
  } catch {
    byId("status").textContent = "This browser keeps nothing: save the answers before you close the page.";
  }
}

function show(position) {
  current = Math.min(Math.max(position, 0), pictures.length - 1);
  const one = pictures[current];
  const verdict = verdicts[one.key];
  byId("picture").src = one.picture;
  byId("picture").alt = `Picture ${current + 1}`;
  for (const part of ["outline", "labels"]) {
    byId(part).hidden = !one[part];
    if (one[part]) byId(part).src = one[part];
  }
  byId("position").textContent = `${current + 1} of ${pictures.length}`;
  byId("key").textContent = one.key;
  byId("accept").setAttribute("aria-pressed", String(verdict?.accept === true));
  for (const each of reasons) each.setAttribute("aria-pressed", String(verdict?.reason === each.dataset.reason));
  byId("previous").disabled = current === 0;
  byId("next").disabled = current === pictures.length - 1;
  byId("undo").disabled = history.length === 0;
  byId("done").textContent = String(Object.keys(verdicts).length);
  [...byId("bar").children].forEach((each, number) => {
    const known = verdicts[pictures[number].key];
    each.className = known === undefined ? "" : known.accept ? "accepted" : "rejected";
    each.setAttribute("aria-current", String(number === current));
  });
}

function judge(verdict) {
  const key = pictures[current].key;
  history.push({ position: current, key, before: verdicts[key] });
  verdicts[key] = verdict;
  keep();
  const isLast = Object.keys(verdicts).length === pictures.length;
  byId("status").textContent = isLast ? "All pictures have an answer: save them." : "";
  show(current + 1);
}

function undo() {
  const last = history.pop();
  if (last === undefined) return;
  if (last.before === undefined) delete verdicts[last.key];
  else verdicts[last.key] = last.before;
  keep();
  show(last.position);
}

async function send(content) {
  byId("status").textContent = "Saving.";
  try {
    const answer = await fetch("/review", { method: "POST", headers: { "Content-Type": "application/json" }, body: content });
    const said = await answer.json();
    byId("status").textContent = answer.ok ? `Kept beside the dataset: ${said.kept}.` : `Not kept: ${said.error}`;
  } catch {
    byId("status").textContent = "Not kept: the studio does not answer. Your answers stay in this browser.";
  }
}

function save() {
  const content = JSON.stringify({ ...sheet, sheet: id, verdicts }, null, 1);
  if (byId("data").dataset.served === "yes") {
    send(content);
    return;
  }
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([content], { type: "application/json" }));
  link.download = "check-verdicts.json";
  link.click();
  URL.revokeObjectURL(link.href);
  byId("status").textContent = "Saved as check-verdicts.json.";
}

pictures.forEach((each, number) => {
  const tick = document.createElement("button");
  tick.type = "button";
  tick.title = String(number + 1);
  tick.setAttribute("aria-label", `Picture ${number + 1}`);
  tick.addEventListener("click", () => show(number));
  byId("bar").append(tick);
});
const accept = () => judge({ accept: true });
const reject = (reason) => judge({ accept: false, reason });
const toggleOutline = () => byId("view").classList.toggle("plain");
byId("accept").addEventListener("click", accept);
byId("previous").addEventListener("click", () => show(current - 1));
byId("next").addEventListener("click", () => show(current + 1));
byId("undo").addEventListener("click", undo);
byId("save").addEventListener("click", save);
byId("anew").addEventListener("click", startAnew);
for (const each of reasons) each.addEventListener("click", () => reject(each.dataset.reason));

const keys = {
  a: accept, u: undo, s: save, o: toggleOutline, ArrowLeft: () => show(current - 1), ArrowRight: () => show(current + 1),
};
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return; // a key that sticks judges one picture
  const number = Number.parseInt(event.key, 10);
  const action = keys[event.key] ?? (reasons[number - 1] && (() => reject(reasons[number - 1].dataset.reason)));
  if (action === undefined) return;
  event.preventDefault();
  action();
});
show(current);
