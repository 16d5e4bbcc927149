"use strict";
/* Tabs, controls and the parts of a tab. Parts are drawn, and their data read, when they are first opened. */

function nameTab(tab) {
  const task = tab.task || "several tasks";
  return [task, tab.protocol, ...(tab.dataset ? [tab.dataset.slice(0, 8)] : [])].join(" · ");
}

function drawTabs() {
  const tabs = readData("board").tabs;
  const list = document.getElementById("tabs");
  list.replaceChildren(
    ...tabs.map((tab, i) => {
      const chosen = i === view.tab;
      const button = make("button", { type: "button", role: "tab", id: `tab-${i}`, "aria-selected": String(chosen), "aria-controls": "panel", tabindex: chosen ? 0 : -1 }, nameTab(tab));
      button.addEventListener("click", () => chooseTab(i));
      return button;
    }),
  );
  list.onkeydown = (event) => {
    const moves = { ArrowRight: view.tab + 1, ArrowLeft: view.tab - 1, Home: 0, End: tabs.length - 1 };
    if (!(event.key in moves)) return;
    event.preventDefault();
    chooseTab((moves[event.key] + tabs.length) % tabs.length);
  };
}

function chooseTab(number) {
  const held = document.activeElement?.getAttribute("role") === "tab";
  Object.assign(view, { tab: number, table: readData("board").tabs[number].tables[0], all: false, sort: null });
  drawTabs();
  drawPanel();
  if (held) document.getElementById(`tab-${number}`).focus();
}

function makeToggle(text, field, value) {
  const button = make("button", { type: "button", "aria-pressed": String(view[field] === value) }, text);
  button.addEventListener("click", () => {
    view[field] = value;
    view.sort = null;
    for (const other of button.parentElement.children) other.setAttribute("aria-pressed", String(other === button));
    drawTable();
  });
  return button;
}

function makeCheckbox(id, text, field) {
  const box = make("input", { type: "checkbox", id, checked: view[field] });
  box.addEventListener("change", () => {
    view[field] = box.checked;
    drawTable();
    markFilters();
  });
  return make("label", { for: id, class: "check" }, box, text);
}

/** Say in the folded filters' heading whether they hide anything. */
function markFilters() {
  const active = [!view.ours, !view.paper, view.tied, view.known].filter(Boolean).length;
  document.getElementById("filters-title").textContent = active ? `Filters (${active} on)` : "Filters";
}

function makeControls(tab) {
  const board = readData("board");
  const search = make("input", { type: "search", id: "search", value: view.search, autocomplete: "off", spellcheck: "false" });
  search.addEventListener("input", () => {
    view.search = search.value;
    drawTable();
  });
  const metrics = tab.tables.map((number) => [number, board.tables[number].metric]);
  const copies = Object.entries(COPY_FORMS).map(([name, format]) => {
    const button = make("button", { type: "button", id: `copy-${name.toLowerCase()}` }, name);
    button.addEventListener("click", async () => {
      const copied = await copyText(format(currentTable(), listShownColumns(currentTable()), listShownLines(currentTable())));
      button.focus();
      document.getElementById("copied").textContent = copied ? `Copied as ${name}` : "Not copied: the browser refused";
    });
    return button;
  });
  return [
    make(
      "div",
      { class: "controls" },
      make("label", { for: "search" }, "Search encoders", search),
      makeSelect("metric", "Metric", metrics, view.table, (value) => {
        Object.assign(view, { table: Number(value), sort: null });
        drawPanel();
        document.getElementById("metric").focus();
      }),
      make("div", { class: "group", role: "group", "aria-label": "Columns" }, make("span", { class: "faint" }, "Columns"), make("div", {}, makeToggle("Key figures", "all", false), makeToggle("All settings", "all", true))),
      make("div", { class: "group", role: "group", "aria-label": "Copy the table" }, make("span", { class: "faint" }, "Copy as"), make("div", {}, copies, make("span", { id: "copied", class: "faint" }))),
    ),
    make(
      "details",
      { class: "filters" },
      make("summary", { id: "filters-title" }, "Filters"),
      make(
        "div",
        { class: "controls" },
        makeCheckbox("filter-ours", "measured here", "ours"),
        makeCheckbox("filter-paper", "published in the paper", "paper"),
        makeCheckbox("filter-tied", "only tie group 1", "tied"),
        makeCheckbox("filter-known", "only encoders known not to have heard the test clips", "known"),
      ),
    ),
  ];
}

/** A folded part of the tab, which is drawn when it is first opened. */
function makePart(id, title, draw) {
  const content = make("div", { class: "content" });
  const details = make("details", { class: "part", id }, make("summary", {}, make("h2", {}, title)), content);
  details.addEventListener("toggle", () => {
    if (details.open && !content.hasChildNodes()) draw(content);
  });
  return details;
}

function makeNotes(table) {
  const board = readData("board");
  const notes = [...table.notes, ...board.notes];
  return [
    notes.length ? make("ul", { class: "notes" }, notes.map((note) => make("li", {}, note))) : null,
    make(
      "details",
      { open: true },
      make("summary", {}, "How to read this table"),
      make("ul", { class: "notes", id: "columns" }),
      make("ul", { class: "notes" }, board.legend.map((line) => make("li", {}, line)), make("li", {}, "bar: the mean; line over it: the interval; a thin line is zero")),
    ),
  ];
}

function drawPanel() {
  const board = readData("board");
  const tab = board.tabs[view.tab];
  const table = currentTable();
  const panel = document.getElementById("panel");
  panel.setAttribute("aria-labelledby", `tab-${view.tab}`);
  const dataset = tab.dataset ? `, dataset ${tab.dataset.slice(0, 8)}` : "";
  const title = `${tab.task || "Several tasks"}, protocol ${tab.protocol}${dataset}`;
  const has = (what) => document.getElementById(`data-${what}-${view.table}`) !== null;
  panel.replaceChildren(
    ...[
      make("h2", {}, title),
      ...makeControls(tab),
      make("p", { id: "count", class: "faint", role: "status" }),
      make("div", { id: "board", class: "scroll", tabindex: 0, role: "region", "aria-label": "Table" }),
      ...makeNotes(table),
      make("section", { id: "clips", "aria-label": "Clips", hidden: true }),
      hasPairs(table) ? makePart("pairs", "Two encoders: what one gets and the other misses", (box) => drawPairs(box, currentTable())) : null,
      has("classes") ? makePart("classes", "Classes and confusion", (box) => drawClasses(box, currentTable())) : null,
      has("bands") ? makePart("bands", "Accuracy and gain by SNR", (box) => drawBands(box, currentTable())) : null,
    ].filter((part) => part !== null),
  );
  drawTable();
  markFilters();
}

chooseTab(0);
