// Filters the counts of combinations and the record's pictures; shows any two attributes against each other.
const explorer = document.getElementById("facets");
if (explorer) {
  const { values, rows } = JSON.parse(explorer.dataset.facets);
  const figures = [...document.querySelectorAll("figure[data-values]")];
  const chips = [...explorer.querySelectorAll("[data-facet]")];
  const element = (name) => explorer.querySelector(`[data-part="${name}"]`);
  const chosen = values.map(() => new Set());
  const format = (number) => number.toLocaleString("en-US");
  const passes = (positions, except = -1) =>
    chosen.every((some, column) => column === except || !some.size || some.has(positions[column]));
  const count = (column, value) =>
    rows.reduce((sum, row) => sum + (row[column] === value && passes(row, column) ? row[values.length] : 0), 0);

  function updateChips() {
    for (const chip of chips) {
      const [column, value] = [Number(chip.dataset.facet), Number(chip.dataset.value)];
      const samples = count(column, value);
      chip.setAttribute("aria-pressed", String(chosen[column].has(value)));
      chip.classList.toggle("none", samples === 0);
      chip.querySelector("small").textContent = format(samples);
    }
    const selected = rows.filter((row) => passes(row)).reduce((sum, row) => sum + row[values.length], 0);
    element("selected").textContent = format(selected);
    for (const figure of figures) figure.hidden = !passes(JSON.parse(figure.dataset.values));
  }

  function cell(tag, text, attributes = {}) {
    const made = document.createElement(tag);
    made.textContent = text;
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    return made;
  }

  function updateTable() {
    if (!element("rows")) return;
    const [down, across] = [Number(element("rows").value), Number(element("columns").value)];
    const kept = rows.filter((row) => passes(row));
    const total = kept.reduce((sum, row) => sum + row[values.length], 0) || 1;
    const head = document.createElement("tr");
    head.append(cell("td", ""), ...values[across].map((value) => cell("th", value, { scope: "col" })));
    const body = values[down].map((value, y) => {
      const line = document.createElement("tr");
      line.append(cell("th", value, { scope: "row" }), ...values[across].map((_, x) => {
        const samples = kept.reduce((sum, row) => sum + (row[down] === y && row[across] === x ? row[values.length] : 0), 0);
        return cell("td", format(samples), { class: "figure", style: `--tint:${Math.round((60 * samples) / total)}%` });
      }));
      return line;
    });
    explorer.querySelector(".cross thead").replaceChildren(head);
    explorer.querySelector(".cross tbody").replaceChildren(...body);
  }

  function update() {
    updateChips();
    updateTable();
  }

  for (const chip of chips) chip.addEventListener("click", () => {
    const some = chosen[Number(chip.dataset.facet)];
    const value = Number(chip.dataset.value);
    if (!some.delete(value)) some.add(value);
    update();
  });
  element("clear").addEventListener("click", () => {
    for (const some of chosen) some.clear();
    update();
  });
  for (const axis of explorer.querySelectorAll("select")) axis.addEventListener("change", updateTable);
}
