"use strict";
/* The difference map: choices, the list of mixtures, what is pointed at, and the figures of the full space. */

const points = readData("points");
const label = unpack(points.label);
const cleanLabel = unpack(points.cleanLabel);
const own = unpack(points.own);
const background = unpack(points.background);
const canvas = document.getElementById("map");
const list = document.getElementById("mixtures");
const choice = { encoder: 0, reference: "a", method: "PCA", centred: true, classes: new Set(points.classes.keys()), marked: -1, pointed: null };
const layouts = new Map();
let scene = null;

function currentMap() {
  return readData(`map-${choice.encoder}`);
}

/** The layout of the chosen method, with its coordinates unpacked once. */
function currentLayout() {
  const key = `${choice.encoder} ${choice.method} ${choice.centred}`;
  if (!layouts.has(key)) {
    const found = currentMap().layouts.find((one) => one.method === choice.method && one.centred === choice.centred);
    layouts.set(key, { ...found, x: unpackAxis(found.x), y: unpackAxis(found.y) });
  }
  return layouts.get(key);
}

function makeChoice(id, title, options, chosen, change) {
  const select = make("select", { id }, options.map(([value, text]) => make("option", { value, selected: value === chosen }, text)));
  select.addEventListener("change", () => {
    change(select.value);
    draw();
  });
  return make("label", { for: id }, title, select);
}

const REFERENCE_NAMES = { a: "a: the same 5 s", b: "b: half of the same 5 s", c: "c: other 5 s", shuffled: "shuffled: another recording" };

function drawControls() {
  const map = currentMap();
  const methods = [...new Set(map.layouts.map((one) => one.method))].map((name) => [name, name]);
  const encoders = readData("encoders").map((name, i) => [String(i), name]);
  document.getElementById("controls").replaceChildren(
    makeChoice("encoder", "Encoder", encoders, String(choice.encoder), (value) => (choice.encoder = Number(value))),
    makeChoice("reference", "Background subtracted", map.references.map((name) => [name, REFERENCE_NAMES[name]]), choice.reference, (value) => (choice.reference = value)),
    makeChoice("method", "Layout", methods, choice.method, (value) => (choice.method = value)),
    makeChoice("centring", "Embeddings", [["1", "each kind centred by its training mean"], ["0", "as they are"]], choice.centred ? "1" : "0", (value) => (choice.centred = value === "1")),
  );
  const all = make("button", { type: "button", id: "all-classes" }, "All");
  const none = make("button", { type: "button", id: "no-classes" }, "None");
  const boxes = points.classes.map((name, i) => {
    const box = make("input", { type: "checkbox", id: `class-${i}`, checked: choice.classes.has(i) });
    box.addEventListener("change", () => {
      if (box.checked) choice.classes.add(i);
      else choice.classes.delete(i);
      drawList();
      draw();
    });
    return [box, make("label", { class: "check", for: `class-${i}` }, box, name)];
  });
  const setAll = (value) => {
    boxes.forEach(([box], i) => {
      box.checked = value;
      if (value) choice.classes.add(i);
      else choice.classes.delete(i);
    });
    drawList();
    draw();
  };
  all.addEventListener("click", () => setAll(true));
  none.addEventListener("click", () => setAll(false));
  document.getElementById("class-list").replaceChildren(all, none, ...boxes.map(([, text]) => text));
}

function listShownMixtures() {
  return points.mixtures.map((_, row) => row).filter((row) => choice.classes.has(label[row]));
}

function drawList() {
  const rows = listShownMixtures();
  rows.sort((a, b) => label[a] - label[b] || points.mixtures[a].localeCompare(points.mixtures[b]));
  if (!rows.includes(choice.marked)) choice.marked = -1;
  list.replaceChildren(...rows.map((row) => make("option", { value: row, selected: row === choice.marked }, `${points.classes[label[row]]}: ${points.mixtures[row]}`)));
  const count = choice.classes.size;
  document.getElementById("class-title").textContent = `Classes (${count === points.classes.length ? "all" : `${count} of ${points.classes.length}`})`;
}

/** Compute what is shown, and draw it with everything that depends on it. */
function draw() {
  const map = currentMap();
  if (!map.references.includes(choice.reference)) choice.reference = map.references[0];
  const layout = currentLayout();
  const count = points.mixtures.length;
  const fit = fitPlane(layout, canvas.clientWidth, canvas.clientHeight);
  const first = { mix: 0, remainder: count * (1 + map.references.indexOf(choice.reference)), clean: count * (1 + map.references.length) };
  const hits = map.hits[choice.reference];
  scene = {
    shown: listShownMixtures(),
    clean: points.clean.map((_, row) => row).filter((row) => choice.classes.has(cleanLabel[row])),
    hasClean: points.clean.length > 0,
    own,
    landed: hits === undefined ? new Uint8Array(count) : unpack(hits[choice.centred ? 0 : 1]),
    marked: choice.marked,
    place: (kind, row) => fit(first[kind] + row),
  };
  redraw();
  drawShare(map, layout);
  drawFigures(map);
  drawDetail();
}

function redraw() {
  const pointed = choice.pointed;
  const marked = pointed === null ? choice.marked : pointed.kind === "clean" ? -1 : pointed.row;
  drawMap(canvas, { ...scene, marked });
}

const percent = (value) => `${value.toFixed(1)}\u00a0%`;

function drawShare(map, layout) {
  const parts =
    layout.method === "PCA"
      ? `The two components have ${percent(100 * layout.shares[0])} and ${percent(100 * layout.shares[1])} of the variance of all points, together ${percent(100 * (layout.shares[0] + layout.shares[1]))}.`
      : "UMAP keeps neighbours next to each other; its axes, and distances between groups, mean nothing.";
  document.getElementById("share").textContent = `${parts} Distances on this map are not those of the ${map.size} dimensions of the embedding: see the figures below.`;
}

function drawFigures(map) {
  const mark = choice.centred ? "" : " uncentred";
  const figure = (setting, metric) => map.figures[setting]?.[`${metric}${mark}`] ?? map.figures[setting]?.[metric];
  const rows = ["mix", ...map.references, "chance"].filter((setting) => figure(setting, "clip R@1") !== undefined);
  const full = document.getElementById("full");
  if (rows.length === 0) {
    full.textContent = "Without clean clips there is nothing to compare the remainders with.";
    document.getElementById("figures").replaceChildren();
    return;
  }
  full.textContent =
    `${readData("encoders")[choice.encoder]}, reference ${choice.reference}: for ${percent(figure(choice.reference, "clip R@1"))} of ` +
    `${points.mixtures.length} remainders, the nearest of ${points.clean.length} clean test clips is their own ` +
    `(cosine similarity in all ${map.size} dimensions; chance ${percent(figure("chance", "clip R@1"))}).`;
  const header = ["query", "own clip is nearest (%)", "own class is nearest (%)"].map((text, i) => make("th", { scope: "col", class: i ? "number" : null }, text));
  const names = { mix: "mixture, nothing subtracted", chance: "chance" };
  const body = rows.map((setting) =>
    make(
      "tr",
      {},
      make("th", { scope: "row" }, names[setting] ?? `remainder ${setting}`),
      ["clip R@1", "class R@1"].map((metric) => make("td", { class: "number" }, figure(setting, metric).toFixed(1))),
    ),
  );
  document.getElementById("figures").replaceChildren(make("caption", {}, "Clip R@1 and class R@1 of ", make("code", {}, "benchmark run")), make("thead", {}, make("tr", {}, header)), make("tbody", {}, body));
}

function findAudio(signal, key) {
  const found = points.audio[signal];
  if (found === undefined) return null;
  const file = typeof found.files === "string" ? found.files.replaceAll("*", key) : found.files[key];
  return file === undefined ? null : encodePath(`${found.folder}/${file}`);
}

const audio = document.getElementById("audio");

function play(address) {
  if (address === null) return;
  audio.hidden = false;
  audio.src = address;
  audio.play().catch(() => announce("This clip cannot be played"));
}

/** The signals of a mixture that can be heard. */
function listSignals(row) {
  const reference = choice.reference === "shuffled" ? "a" : choice.reference;
  return [
    ["mixture", findAudio("mix", points.mixtures[row])],
    [`background ${reference}`, findAudio(reference, points.mixtures[row])],
    ["clean clip", findAudio("clean", points.clean[own[row]] ?? "")],
  ].filter(([, address]) => address !== null);
}

function drawDetail() {
  const row = choice.marked;
  const box = document.getElementById("detail");
  if (row < 0) {
    box.replaceChildren(make("p", { class: "faint" }, "Nothing is chosen."));
    return;
  }
  const nearest = currentMap().nearest[choice.reference];
  const facts = [
    ["mixture", points.mixtures[row]],
    ["class", points.classes[label[row]]],
    ["background", points.backgrounds[background[row]]],
    ["SNR", `${points.snr[row].toFixed(1)} dB`],
  ];
  if (nearest !== undefined && choice.centred) {
    const place = unpack(nearest)[row];
    facts.push(["nearest", place === own[row] ? "its own clean clip" : `${points.clean[place]} (${points.classes[cleanLabel[place]]})`]);
  } else if (nearest !== undefined) facts.push(["nearest", scene.landed[row] ? "its own clean clip" : "another clean clip"]);
  const buttons = listSignals(row).map(([name, address]) => {
    const button = make("button", { type: "button", class: "play" }, `▶ ${name}`);
    button.addEventListener("click", () => play(address));
    return button;
  });
  box.replaceChildren(make("dl", {}, facts.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)])), ...buttons);
}

function mark(row) {
  choice.marked = row;
  scene.marked = row;
  redraw();
  drawDetail();
}

const KIND_NAMES = { mix: "mixture", remainder: "remainder", clean: "clean clip" };

function describePoint({ kind, row }) {
  const name = kind === "clean" ? points.clean[row] : points.mixtures[row];
  return `${KIND_NAMES[kind]}: ${name}, ${points.classes[(kind === "clean" ? cleanLabel : label)[row]]}`;
}

function findPointAudio({ kind, row }) {
  return kind === "clean" ? findAudio("clean", points.clean[row]) : findAudio("mix", points.mixtures[row]);
}

function pointAt(event) {
  const frame = canvas.getBoundingClientRect();
  const found = findPoint(scene, event.clientX - frame.left, event.clientY - frame.top);
  const tip = document.getElementById("tip");
  const same = found?.kind === choice.pointed?.kind && found?.row === choice.pointed?.row;
  choice.pointed = found;
  tip.hidden = found === null;
  if (found === null) {
    if (!same) redraw();
    return;
  }
  const right = event.clientX - frame.left > frame.width / 2;
  tip.textContent = describePoint(found);
  const left = event.clientX - frame.left + (right ? -12 - tip.offsetWidth : 12);
  tip.style.transform = `translate(${Math.max(0, left)}px, ${Math.min(event.clientY - frame.top + 12, frame.height - 40)}px)`;
  if (same) return;
  redraw();
  if (document.getElementById("hear").checked) play(findPointAudio(found));
}

canvas.addEventListener("mousemove", pointAt);
canvas.addEventListener("mouseleave", () => {
  choice.pointed = null;
  document.getElementById("tip").hidden = true;
  redraw();
});
canvas.addEventListener("click", (event) => {
  pointAt(event);
  if (choice.pointed === null) return;
  const { kind, row } = choice.pointed;
  if (kind !== "clean") {
    list.value = String(row);
    mark(row);
  }
  play(findPointAudio(choice.pointed));
});
list.addEventListener("change", () => {
  mark(Number(list.value));
  if (document.getElementById("hear").checked) play(findPointAudio({ kind: "mix", row: choice.marked }));
});
list.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && choice.marked >= 0) play(findPointAudio({ kind: "mix", row: choice.marked }));
});
new ResizeObserver(() => draw()).observe(canvas);
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);

function drawLegend() {
  const shape = (kind) => make("svg", { width: 16, height: 16, viewBox: "-8 -8 16 16", "aria-hidden": "true" }, make("path", { class: kind, d: PATHS[kind] }));
  const line = (name) => make("svg", { width: 26, height: 16, viewBox: "0 -8 26 16", "aria-hidden": "true" }, make("line", { class: name, x1: 0, x2: 26, y1: 0, y2: 0 }));
  const entries = [[shape("mix"), "mixture"], [shape("remainder"), "remainder"]];
  if (points.clean.length) {
    entries.push([shape("clean"), "clean clip"], [line("landed"), "nearest clean clip is its own"], [line("missed"), "another is nearer"]);
  }
  document.getElementById("legend").replaceChildren(...entries.map(([svg, text]) => make("li", {}, svg, ` ${text}`)));
}

drawControls();
drawLegend();
drawList();
draw();
