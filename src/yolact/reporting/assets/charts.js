"use strict";

// The charts of a page: drawn by Plotly in the page's colours, light or dark, each with its numbers as
// a table. Figures come from reporting/charts.py, or are made the same way by a page's own script.
const Charts = (() => {
  const drawn = new Map(); // name -> { chart, plot, mark }
  const paperWidth = 680; // pixels, what fits a printed page
  const settings = { displayModeBar: false, responsive: true };

  // Puts in what the page's CSS variables are now.
  function themed(value, style) {
    if (typeof value === "string") {
      return value.startsWith("var(") ? style.getPropertyValue(value.slice(4, -1)).trim() : value;
    }
    if (Array.isArray(value)) return value.map((part) => themed(part, style));
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, themed(part, style)]));
  }

  function merged(base, more) {
    const both = { ...base };
    for (const [key, value] of Object.entries(more)) {
      const deeper = value !== null && typeof value === "object" && !Array.isArray(value) && key in base;
      both[key] = deeper ? merged(base[key], value) : value;
    }
    return both;
  }

  function baseLayout() {
    const axis = {
      gridcolor: "var(--line)", zerolinecolor: "var(--line)", linecolor: "var(--soft)", automargin: true,
    };
    return {
      paper_bgcolor: "var(--ground)", plot_bgcolor: "var(--ground)",
      font: { color: "var(--ink)", family: "system-ui, sans-serif", size: 13 },
      margin: { l: 56, r: 12, t: 12, b: 48 },
      hovermode: "closest",
      // A finger scrolls the page; a mouse zooms.
      dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom",
      hoverlabel: {
        bgcolor: "var(--panel)", bordercolor: "var(--soft)", font: { color: "var(--ink)" }, namelength: -1,
      },
      legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom" },
      xaxis: axis, yaxis: axis,
    };
  }

  function render({ chart, plot, mark }, width) {
    const layout = merged(baseLayout(), chart.layout);
    const line = {
      type: "line", x0: mark, x1: mark, y0: 0, y1: 1, yref: "paper",
      line: { color: "var(--accent)", width: 2 },
    };
    layout.shapes = [...(chart.layout.shapes ?? []), ...(mark === null ? [] : [line])];
    if (width) layout.width = width;
    const style = getComputedStyle(document.documentElement);
    return Plotly.react(plot, themed(chart.data, style), themed(layout, style), settings);
  }

  // Draws every chart of `charts`, {name: chart}, that has a place in the page.
  async function draw(charts) {
    const all = [];
    for (const figure of document.querySelectorAll("figure[data-chart]")) {
      const chart = charts[figure.dataset.chart];
      if (!chart) continue;
      const entry = { chart, plot: figure.querySelector(".plot"), mark: null };
      drawn.set(figure.dataset.chart, entry);
      all.push(render(entry));
      const details = figure.querySelector("details");
      // A long table costs as much as the chart, so it is made when somebody opens it.
      details.addEventListener("toggle", () => {
        if (details.open) figure.querySelector(".numbers").replaceChildren(table(numbers(entry.chart)));
      });
    }
    await Promise.all(all);
  }

  // Shows another chart in the same place.
  function change(name, chart) {
    const entry = drawn.get(name);
    entry.chart = chart;
    const details = entry.plot.closest("figure").querySelector("details");
    if (details.open) details.querySelector(".numbers").replaceChildren(table(numbers(chart)));
    return render(entry);
  }

  // Moves the vertical line to x = `position` on the named charts; null takes it away.
  function mark(position, names) {
    for (const name of names) {
      const entry = drawn.get(name);
      if (!entry) continue;
      entry.mark = position;
      render(entry);
    }
  }

  // {head, rows} of what a chart shows.
  function numbers(chart) {
    if (chart.table) return chart.table;
    const title = (axis) => chart.layout[axis]?.title?.text ?? "";
    const shown = chart.data.filter((trace) => trace.visible !== false);
    if (shown[0]?.type === "heatmap") {
      const { x, y, z } = shown[0];
      return { head: [title("yaxis"), ...x], rows: y.map((name, row) => [name, ...z[row]]) };
    }
    const [along, across] = shown[0]?.orientation === "h" ? ["y", "x"] : ["x", "y"];
    const same = shown.every((trace) => String(trace[along]) === String(shown[0][along]));
    if (same && shown.length) {
      return {
        head: [title(`${along}axis`), ...shown.map((trace) => trace.name)],
        rows: shown[0][along].map((at, row) => [at, ...shown.map((trace) => trace[across][row])]),
      };
    }
    return {
      head: ["", title(`${along}axis`), title(`${across}axis`)],
      rows: shown.flatMap((trace) => trace[along].map((at, row) => [trace.name, at, trace[across][row]])),
    };
  }

  const shortly = (value) =>
    value === null || value === undefined ? "–"
      : typeof value === "number" ? String(Number(value.toPrecision(4))) : String(value);

  function table({ head, rows }) {
    const element = document.createElement("table");
    const line = (section, cells, tags) => {
      const row = section.insertRow();
      cells.forEach((cell, place) => {
        const made = document.createElement(tags(place));
        if (made.tagName === "TH") made.scope = section === element.tHead ? "col" : "row";
        made.textContent = shortly(cell);
        row.append(made);
      });
    };
    line(element.createTHead(), head, () => "th");
    const body = element.createTBody();
    rows.forEach((cells) => line(body, cells, (place) => (place ? "td" : "th")));
    return element;
  }

  const renderAll = (width) => drawn.forEach((entry) => render(entry, width));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => renderAll());
  addEventListener("beforeprint", () => {
    document.documentElement.classList.add("paper");
    renderAll(paperWidth);
  });
  addEventListener("afterprint", () => {
    document.documentElement.classList.remove("paper");
    renderAll();
  });

  return { draw, change, mark, numbers, plot: (name) => drawn.get(name).plot };
})();
