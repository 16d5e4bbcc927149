"use strict";
/* Filters, keys, and the start of the page. */

const texts = [];
const chosen = { words: [], low: -Infinity, high: Infinity };

function listAll() {
  return rows.id.map((_, row) => row);
}

function matches(row) {
  if (chosen.words.length > 0) {
    texts[row] ??= KIND.getText(row).toLowerCase();
    if (!chosen.words.every((word) => texts[row].includes(word))) return false;
  }
  if (KIND.range !== null) {
    const value = KIND.range.get(row);
    if (value < chosen.low || value > chosen.high) return false;
  }
  return KIND.filters.every((filter) => filter.field.value === "" || filter.match(row, filter.field.value));
}

function readNumber(field, otherwise) {
  return field.value.trim() === "" || Number.isNaN(field.valueAsNumber) ? otherwise : field.valueAsNumber;
}

function applyFilters() {
  const fields = document.getElementById("filters").elements;
  chosen.words = fields.search.value.toLowerCase().split(/\s+/).filter((word) => word !== "");
  if (KIND.range !== null) {
    chosen.low = readNumber(fields.low, -Infinity);
    chosen.high = readNumber(fields.high, Infinity);
  }
  const order = KIND.orders[Number(fields.order.value)];
  const found = listAll().filter(matches).sort(order.compare);
  showRows(found);
  const count = `${found.length.toLocaleString("en")} of ${rows.id.length.toLocaleString("en")} ${KIND.noun}`;
  document.getElementById("count").textContent = count;
  announce(count);
}

function makeField(label, field) {
  return make("label", {}, label, field);
}

function makeSelect(name, options) {
  return make("select", { name }, options.map(([value, text]) => make("option", { value }, text)));
}

function setUpFilters() {
  const form = document.getElementById("filters");
  form.append(makeField("Search", make("input", { type: "search", name: "search", id: "search" })));
  for (const filter of KIND.filters) {
    filter.field = makeSelect(filter.name, [["", "all"], ...filter.list().map((value) => [value, value])]);
    form.append(makeField(filter.label, filter.field));
  }
  if (KIND.range !== null) {
    form.append(makeField(`${KIND.range.label} from, dB`, make("input", { type: "number", name: "low", step: "any" })));
    form.append(makeField("to, dB", make("input", { type: "number", name: "high", step: "any" })));
  }
  form.append(makeField("Order", makeSelect("order", KIND.orders.map(({ name }, place) => [place, name]))));
  form.append(make("button", { type: "reset" }, "Clear"));
  let waiting = null;
  form.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(applyFilters, 120);
  });
  form.addEventListener("reset", () => setTimeout(applyFilters));
  form.addEventListener("submit", (event) => event.preventDefault());
}

const KEYS = {
  " ": togglePlaying,
  p: togglePlaying,
  x: () => switchTo(player.before),
  0: () => seekTo(0),
  ArrowLeft: () => seekTo(getPosition() - 0.5),
  ArrowRight: () => seekTo(getPosition() + 0.5),
  j: () => moveBy(1),
  k: () => moveBy(-1),
  l: () => document.getElementById("repeat").click(),
  "/": () => document.getElementById("search").focus(),
};

function pressKey(event) {
  const { target, key } = event;
  if (event.ctrlKey || event.altKey || event.metaKey || !document.getElementById("use-keys").checked) return;
  if (target.matches("select, input:not([type=checkbox]):not([type=range])")) {
    if (key !== "Escape") return;
    event.preventDefault(); // the browser would empty a search field
    target.blur();
    return;
  }
  const ownKeys = target.matches("button, summary, a, input") && (key === " " || (key.startsWith("Arrow") && target.matches("input")));
  if (ownKeys) return;
  const number = /^[1-9]$/.test(key) ? Number(key) - 1 : null;
  const act = number === null ? KEYS[key] : () => switchTo(number);
  if (act === undefined) return;
  event.preventDefault();
  act();
}

/** `#NAME` opens the row of that name. */
function openNamed() {
  let name = location.hash.slice(1);
  try {
    name = decodeURIComponent(name);
  } catch {
    return;
  }
  const row = rows.id.indexOf(name);
  if (row >= 0 && shown.includes(row)) selectRow(row);
}

function sortUnique(values) {
  return [...new Set(values)].sort();
}

makeCards();
setUpFilters();
if (page.signals.length > 0) {
  setUpPlayer();
  drawScale(document.getElementById("scale"));
  document.addEventListener("keydown", pressKey);
}
applyFilters();
openNamed();
window.addEventListener("hashchange", openNamed);
