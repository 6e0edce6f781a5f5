"use strict";

const data = JSON.parse(document.getElementById("data").textContent);
const boxes = [...document.querySelectorAll(".runs input")];
const curves = ["mask-ap", "box-ap", "loss"];

// A chart with only the chosen runs, its curves over steps or over time.
function chosen(name, shown, along) {
  const chart = data.charts[name];
  const byTime = along === "time" && curves.includes(name);
  const traces = chart.data.map((trace, run) =>
    ({ ...trace, visible: shown.has(run), ...(byTime && { x: trace.customdata }) }));
  if (!curves.includes(name)) {
    const rows = chart.table.rows.filter((_, run) => shown.has(run));
    return { ...chart, data: traces, table: { ...chart.table, rows } };
  }
  const xaxis = { ...chart.layout.xaxis, title: { text: data.axes[along] } };
  return { ...chart, data: traces, layout: { ...chart.layout, xaxis } };
}

const isNumber = (value) => typeof value === "number";

function compare(a, b) {
  if (isNumber(a) && isNumber(b)) return a - b;
  return String(a).localeCompare(String(b), undefined, { numeric: true });
}

// A table of runs that is sorted by its headings.
class RunTable {
  constructor(place, { head, rows, best }) {
    this.rows = rows.map((cells, run) => ({ run, cells: [data.names[run], ...cells] }));
    this.best = [null, ...best];
    this.column = 0;
    this.direction = 0; // as the runs were given, until somebody sorts
    this.shown = new Set();
    const table = document.createElement("table");
    const line = table.createTHead().insertRow();
    this.headings = ["run", ...head].map((title, column) => {
      const heading = document.createElement("th");
      heading.scope = "col";
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = title;
      button.addEventListener("click", () => this.sort(column));
      heading.append(button);
      line.append(heading);
      return heading;
    });
    this.body = table.createTBody();
    place.append(table);
  }

  sort(column) {
    // Numbers start with the greatest, names with A.
    const first = this.rows.some(({ cells }) => isNumber(cells[column])) ? -1 : 1;
    this.direction = this.column === column && this.direction ? -this.direction : first;
    this.column = column;
    this.headings.forEach((heading, place) => {
      if (place !== column) heading.removeAttribute("aria-sort");
      else heading.setAttribute("aria-sort", this.direction > 0 ? "ascending" : "descending");
    });
    this.show(this.shown);
  }

  show(shown) {
    this.shown = shown;
    const { column, direction } = this;
    const rows = this.rows.filter(({ run }) => shown.has(run)).sort((a, b) => {
      const [left, right] = [a.cells[column], b.cells[column]];
      if (left === null || right === null) return (left === null) - (right === null); // unknown: last
      return direction * compare(left, right);
    });
    const highest = this.best.map((kind, place) =>
      kind && Math.max(...rows.map(({ cells }) => cells[place] ?? -Infinity)));
    this.body.replaceChildren(...rows.map(({ cells }) => {
      const row = document.createElement("tr");
      row.append(...cells.map((value, place) => {
        const cell = document.createElement(place ? "td" : "th");
        if (!place) cell.scope = "row";
        cell.textContent = value === null ? "–"
          : this.best[place] ? value.toFixed(3) : isNumber(value) ? String(Number(value.toPrecision(6))) : value;
        if (this.best[place] && value === highest[place]) {
          cell.className = "best";
          cell.title = "the best of these";
        }
        return cell;
      }));
      return row;
    }));
  }
}

const tables = Object.entries(data.tables)
  .filter(([name]) => document.getElementById(name))
  .map(([name, table]) => new RunTable(document.getElementById(name), table));

function update() {
  const shown = new Set(boxes.filter((box) => box.checked).map((box) => Number(box.value)));
  const along = document.querySelector("[name=along]:checked").value;
  tables.forEach((table) => table.show(shown));
  return Promise.all(Object.keys(data.charts).map((name) => Charts.change(name, chosen(name, shown, along))));
}

for (const input of document.querySelectorAll(".runs input, [name=along]")) input.addEventListener("change", update);
for (const [id, checked] of [["all", true], ["none", false]]) {
  document.getElementById(id).addEventListener("click", () => {
    boxes.forEach((box) => { box.checked = checked; });
    update();
  });
}
tables.forEach((table) => table.show(new Set(boxes.keys())));
Charts.draw(data.charts).then(() => { document.body.dataset.ready = "yes"; });
