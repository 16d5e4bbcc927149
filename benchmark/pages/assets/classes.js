"use strict";
/* Accuracy by class, and which classes are taken for which. */

const LARGEST_GRID = 60;
const LABELLED_GRID = 16;
const MOST_CONFUSIONS = 25;
const GRID = { cell: 14, label: 34, margin: 130, right: 60 };

/** Fill the part of the page that shows classes. */
function drawClasses(box, table, chosen) {
  const data = readData(`classes-${view.table}`);
  const settings = table.columns.map((column, place) => [place, column.name]).filter(([place]) => data.figures[place].some((one) => one !== null));
  const place = chosen?.place ?? (settings.some(([one]) => one === table.order) ? table.order : settings[0][0]);
  const lines = table.lines.map((_, line) => line).filter((line) => data.figures[place][line] !== null);
  const sort = chosen?.sort ?? { by: "class", descending: false };
  const line = lines.includes(chosen?.line) ? chosen.line : lines[0];
  const redraw = (change) => {
    const focused = document.activeElement?.id;
    drawClasses(box, table, { place, sort, line, ...change });
    if (focused) document.getElementById(focused)?.focus();
  };
  box.replaceChildren(
    make("div", { class: "controls" }, makeSelect("class-setting", "Setting", settings, place, (value) => redraw({ place: Number(value) }))),
    make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Accuracy by class" }, makeClassTable(table, data, place, lines, sort, redraw)),
    make("h3", {}, "Confusion"),
    make("div", { class: "controls" }, makeSelect("confusion-encoder", "Encoder", lines.map((one) => [one, table.lines[one].name]), line, (value) => redraw({ line: Number(value) }))),
    ...makeConfusion(table, table.lines[line], place),
  );
}

function makeClassTable(table, data, place, lines, sort, redraw) {
  const figures = data.figures[place];
  const order = data.labels.map((_, i) => i);
  const key = (i) => (sort.by === "class" ? data.labels[i] : figures[sort.by][i]?.[0] ?? -1);
  order.sort((a, b) => (typeof key(a) === "string" ? key(a).localeCompare(key(b)) : key(a) - key(b)));
  if (sort.descending) order.reverse();
  const heads = [["class", "class"], ...lines.map((line) => [line, table.lines[line].name])].map(([by, text]) => {
    const sorted = sort.by === by ? (sort.descending ? "descending" : "ascending") : "none";
    const button = make("button", { type: "button", class: "sort", id: `class-sort-${by}` }, text);
    button.addEventListener("click", () => redraw({ sort: { by, descending: sort.by === by ? !sort.descending : by !== "class" } }));
    return make("th", { scope: "col", class: by === "class" ? null : "number", "aria-sort": sorted }, button);
  });
  heads.splice(1, 0, make("th", { scope: "col", class: "number" }, "clips"));
  const rows = order.map((i) =>
    make(
      "tr",
      {},
      make("th", { scope: "row" }, data.labels[i]),
      make("td", { class: "number" }, String(data.counts[i])),
      lines.map((line) => makeClassCell(figures[line][i])),
    ),
  );
  return make("table", {}, make("thead", {}, make("tr", {}, heads)), make("tbody", {}, rows));
}

function makeClassCell(values) {
  if (values === null || values === undefined) return make("td", { class: "number" }, "–");
  const [mean, low, high] = values;
  const interval = low === null ? "" : ` [${low.toFixed(1)}, ${high.toFixed(1)}]`;
  const cell = [mean.toFixed(1) + interval, mean, low, high, 0];
  return make("td", { class: "number" }, make("span", { class: "mean" }, mean.toFixed(1)), make("span", { class: "interval" }, interval), makeBar(cell, [0, 100], false));
}

/** How often each class was predicted for the clips of each class, over all seeds. */
function countConfusion(side) {
  const counts = new Map();
  for (const one of side.series) {
    one.predicted.forEach((predicted, i) => {
      if (predicted === one.missing) return;
      const key = `${side.clips.label[i]}\t${predicted}`;
      counts.set(key, (counts.get(key) ?? 0) + 1);
    });
  }
  return [...counts].map(([key, count]) => {
    const [label, predicted] = key.split("\t").map((number) => side.clips.names[Number(number)]);
    return { label, predicted, count };
  });
}

function makeConfusion(table, line, place) {
  const run = line.cells[place][5];
  const side = makeSide(run, line.name, table.columns[place].setting, table.metric);
  const counts = countConfusion(side);
  const labels = [...new Set(counts.flatMap(({ label, predicted }) => [label, predicted]))].sort();
  const wrong = counts.filter(({ label, predicted }) => label !== predicted).sort((a, b) => b.count - a.count || a.label.localeCompare(b.label));
  const rows = wrong.slice(0, MOST_CONFUSIONS).map(({ label, predicted, count }) => {
    const button = make("button", { type: "button", "aria-label": `Show the clips of ${label} that were taken for ${predicted}` }, "Show clips");
    button.addEventListener("click", () => {
      const among = side.right.map((_, i) => i).filter((i) => side.clips.names[side.clips.label[i]] === label && listPredicted(side.series, side.clips.names, i).some(({ name }) => name === predicted));
      showClips(side, among, `${line.name}, ${table.columns[place].name}: ${label} taken for ${predicted}`);
    });
    return make("tr", {}, make("th", { scope: "row" }, label), make("td", {}, predicted), make("td", { class: "number" }, String(count)), make("td", {}, button));
  });
  const header = ["class", "taken for", side.series.length > 1 ? `times in ${side.series.length} seeds` : "clips", ""].map((text, i) =>
    text ? make("th", { scope: "col", class: i === 2 ? "number" : null }, text) : make("td"),
  );
  const list = rows.length
    ? make("table", { class: "confusions" }, make("caption", {}, "The most frequent confusions"), make("thead", {}, make("tr", {}, header)), make("tbody", {}, rows))
    : make("p", {}, "No clip was taken for another class.");
  const grid = labels.length <= LARGEST_GRID ? make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Confusion matrix" }, makeGrid(labels, counts)) : null;
  return [make("div", { class: "side-by-side" }, grid, make("div", { class: "scroll" }, list))].filter((one) => one !== null);
}

/** The confusion matrix: a row for each class, shaded by the share of its clips that each column's class got. */
function makeGrid(labels, counts) {
  const size = labels.length <= LABELLED_GRID ? GRID.label : GRID.cell;
  const whole = new Map();
  for (const { label, count } of counts) whole.set(label, (whole.get(label) ?? 0) + count);
  const [width, height] = [GRID.margin + labels.length * size + GRID.right, GRID.margin + labels.length * size + 4];
  const svg = make("svg", { class: "grid", width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "Rows: class of the clip; columns: predicted class. The list next to it has the figures." });
  const shorten = (text) => (text.length > 18 ? `${text.slice(0, 17)}…` : text);
  labels.forEach((label, i) => {
    const middle = GRID.margin + (i + 0.5) * size;
    svg.append(
      make("text", { x: GRID.margin - 6, y: middle + 4, "text-anchor": "end" }, shorten(label)),
      make("text", { x: 0, y: 0, transform: `translate(${middle + 4} ${GRID.margin - 6}) rotate(-60)` }, shorten(label)),
    );
  });
  const edge = GRID.margin + labels.length * size;
  labels.forEach((_, i) => svg.append(make("line", { class: "rule", x1: GRID.margin, x2: edge, y1: GRID.margin + i * size, y2: GRID.margin + i * size })));
  for (const { label, predicted, count } of counts) {
    const share = count / whole.get(label);
    const [x, y] = [GRID.margin + labels.indexOf(predicted) * size, GRID.margin + labels.indexOf(label) * size];
    svg.append(
      make(
        "rect",
        { class: label === predicted ? "diagonal" : "off", x: x + 0.5, y: y + 0.5, width: size - 1, height: size - 1, "fill-opacity": (0.15 + 0.85 * share).toFixed(3) },
        make("title", {}, `${label} predicted as ${predicted}: ${count} of ${whole.get(label)}`),
      ),
    );
    if (size === GRID.label) svg.append(make("text", { class: share > 0.45 ? "on-dark" : null, x: x + size / 2, y: y + size / 2 + 4, "text-anchor": "middle" }, String(count)));
  }
  return svg;
}
