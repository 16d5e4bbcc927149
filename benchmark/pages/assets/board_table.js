"use strict";
/* The table of a tab: lines that filters let through, in the chosen order, with bars and intervals. */

const KEY = 1;
const GAIN = 2;
const CONTROL = 4;
const BAR = { width: 96, height: 10 };

/** What is shown; each tab begins with its first table, its key columns and its own order. */
const view = { tab: 0, table: 0, all: false, sort: null, search: "", ours: true, paper: true, tied: false, known: false };

function listShownColumns(table) {
  return table.columns.map((_, place) => place).filter((place) => view.all || table.columns[place].kind & KEY);
}

function isTrainedOnTests(line) {
  return line.leaks.some((leak) => /trained on the|unknown|not comparable/.test(leak));
}

function listShownLines(table) {
  const wanted = view.search.trim().toLowerCase();
  const lines = table.lines.filter(
    (line) =>
      (line.paper ? view.paper : view.ours) &&
      (!wanted || line.name.toLowerCase().includes(wanted)) &&
      (!view.tied || (line.rank !== null && line.rank[3] === 1)) &&
      !(view.known && isTrainedOnTests(line)),
  );
  if (view.sort === null) return lines;
  const { by, descending } = view.sort;
  const key = (line) => {
    if (by === "encoder") return line.name;
    if (by === "rank") return line.rank && line.rank[0];
    if (by === "tie") return line.rank && line.rank[3];
    return line.cells[by] && line.cells[by][1];
  };
  const compare = (a, b) => (typeof a === "string" ? a.localeCompare(b) : a - b);
  const known = lines.filter((line) => key(line) !== null);
  known.sort((a, b) => (descending ? compare(key(b), key(a)) : compare(key(a), key(b))));
  return [...known, ...lines.filter((line) => key(line) === null)];
}

/** The ends of a column's scale. */
function findScale(table, place) {
  const cells = table.lines.map((line) => line.cells[place]).filter((cell) => cell !== null);
  if (table.percent && !(table.columns[place].kind & GAIN)) return [0, 100];
  const ends = cells.flatMap((cell) => cell.slice(1, 4)).filter((value) => value !== null);
  return [Math.min(0, ...ends), Math.max(1e-9, ...ends)];
}

/** A bar from zero to the mean, with the interval as a line over it. */
function makeBar(cell, [low, high], paper) {
  const x = (value) => 1 + ((value - low) / (high - low)) * (BAR.width - 2);
  const zero = x(Math.min(Math.max(0, low), high));
  const mean = x(cell[1]);
  const middle = BAR.height / 2;
  const svg = make("svg", { class: paper ? "bar paper" : "bar", width: BAR.width, height: BAR.height, "aria-hidden": "true" });
  svg.append(
    make("rect", { class: "share", x: Math.min(zero, mean), y: 2, width: Math.abs(mean - zero), height: BAR.height - 4 }),
    make("line", { class: "zero", x1: zero, x2: zero, y1: 0, y2: BAR.height }),
  );
  if (cell[2] !== null && cell[3] !== null) {
    const [first, last] = [x(cell[2]), x(cell[3])];
    svg.append(
      make("path", { class: "interval", d: `M${first} 2V${BAR.height - 2}M${first} ${middle}H${last}M${last} 2V${BAR.height - 2}` }),
    );
  }
  return svg;
}

function makeFigure(table, line, place, scale) {
  const cell = line.cells[place];
  if (cell === null) return make("td", { class: "number" }, make("span", { class: "faint", "aria-label": "not measured" }, "–"));
  const column = table.columns[place];
  const [mean, rest] = cell[0].split(" [");
  const parts = [
    make("span", { class: cell[4] & BEST ? "mean best" : "mean" }, mean + (cell[4] & CUT ? "†" : "")),
    make("span", { class: "interval" }, rest === undefined ? "" : ` [${rest}`),
    makeBar(cell, scale, line.paper),
  ];
  const sides = splitGain(column.setting);
  const opens = cell[5] >= 0 && sides.every((setting) => readData("runs")[cell[5]] && hasSeries(cell[5], setting, table.metric));
  if (!opens) return make("td", { class: "number" }, make("span", { class: "figure" }, parts));
  const label = `${line.name}, ${column.name}: ${cell[0]}${cell[4] & BEST ? ", tied with the best" : ""}. Show its clips`;
  const button = make("button", { type: "button", class: "figure", "aria-label": label }, parts);
  button.addEventListener("click", () => openFigure(table, line, place));
  return make("td", { class: "number" }, button);
}

/** The settings of a figure: two of a gain such as `a* - mix`. */
function splitGain(setting) {
  return setting.includes(" - ") ? setting.split(" - ", 2) : [setting];
}

function hasSeries(run, setting, metric) {
  return readData("runs")[run].series.includes(`${setting}\t${metric}`);
}

/** What a column shows, in words; null where that is not known. */
function describeColumn(table, place) {
  const { task, setting, kind } = table.columns[place];
  const about = (readData("settings")[task] ?? {})[setting];
  if (about !== undefined) return about;
  return kind & GAIN ? `the gain: ${splitGain(setting).join(" minus ")}, on the same clips` : null;
}

/** The columns in words, under the table: titles of headers need a mouse. */
function listColumns(table, places) {
  const known = places.map((place) => [table.columns[place].name, describeColumn(table, place)]).filter(([, about]) => about !== null);
  const items = known.map(([name, about]) => make("li", {}, make("strong", {}, name), `: ${about}`));
  const symbols = known.some(([, about]) => about.includes("y_mix"));
  return symbols ? [...items, make("li", {}, "y_mix: the embedding of the mixture; y_bg: the embedding of the background alone")] : items;
}

function makeHeader(table, places) {
  const columns = [
    ["encoder", "encoder", "text"],
    ...(table.ranked ? [["rank", "rank", "number"], ["tie", "tie", "number"]] : []),
    ...places.map((place) => [place, table.columns[place].name, "number"]),
  ];
  const cells = columns.map(([by, name, kind]) => {
    const sort = view.sort ?? { by: table.order, descending: !table.ascending };
    const sorted = sort.by !== by ? "none" : sort.descending ? "descending" : "ascending";
    const about = typeof by === "number" ? describeColumn(table, by) : null;
    const button = make("button", { type: "button", class: "sort", title: about }, name);
    button.addEventListener("click", () => sortBy(by, kind === "number" && by !== "rank" && by !== "tie" && !table.ascending));
    return make("th", { scope: "col", class: kind === "number" ? "number" : "name", "aria-sort": sorted }, button);
  });
  return make("thead", {}, make("tr", {}, cells));
}

function sortBy(by, descending) {
  const table = currentTable();
  const before = view.sort ?? { by: table.order, descending: !table.ascending };
  view.sort = before.by === by ? { by, descending: !before.descending } : { by, descending };
  drawTable();
  const order = view.sort.descending ? "descending" : "ascending";
  announce(`Sorted by ${typeof by === "number" ? table.columns[by].name : by}, ${order}`);
  document.querySelector(`#board th[aria-sort="${order}"] button`).focus();
}

function makeLine(table, line, places, scales) {
  const rank = line.rank;
  const badge = line.paper ? make("span", { class: "badge" }, "as published") : null;
  const leaks = isTrainedOnTests(line) ? make("span", { class: "badge mark", title: line.leaks.join("; ") }, "training data?") : null;
  const name = line.name.replace(/ \(paper\)$/, line.paper ? "" : " (paper)");
  const cells = [make("th", { scope: "row", class: "name" }, make("span", { class: "encoder" }, name), badge, leaks)];
  if (table.ranked) {
    cells.push(
      make("td", { class: "number" }, rank === null ? "" : [make("span", { class: "mean" }, String(rank[0])), ` [${rank[1]}, ${rank[2]}]`]),
      make("td", { class: "number" }, rank === null ? "" : String(rank[3])),
    );
  }
  cells.push(...places.map((place) => makeFigure(table, line, place, scales.get(place))));
  return make("tr", { class: line.paper ? "paper" : null }, cells);
}

function currentTable() {
  return readData("board").tables[view.table];
}

/** Draw the table again, with the lines that the filters let through. */
function drawTable() {
  const table = currentTable();
  const places = listShownColumns(table);
  const lines = listShownLines(table);
  const scales = new Map(places.map((place) => [place, findScale(table, place)]));
  const body = make("tbody", {}, lines.map((line) => makeLine(table, line, places, scales)));
  const caption = make("caption", { class: "hidden-visually" }, table.title);
  document.getElementById("board").replaceChildren(make("table", {}, caption, makeHeader(table, places), body));
  document.getElementById("columns").replaceChildren(...listColumns(table, places));
  const all = table.lines.length;
  const count = `${lines.length === all ? "" : `${lines.length} of `}${all} ${all === 1 ? "encoder" : "encoders"}`;
  document.getElementById("count").textContent = `${count} · ${table.metric}${table.percent ? " in %" : ""}`;
}
