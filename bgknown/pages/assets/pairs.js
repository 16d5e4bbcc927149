"use strict";
/* What a card of APwD pairs shows. */

function sayChange([kind, label]) {
  const [role, what] = kind.split("_");
  return `${role === "background" ? "background " : ""}${label} ${what}`;
}

/** One side's time line: a lane for the background and one for each class of either side. */
function makeLanes(row, side, labels) {
  const scape = pick("scapes", row)[side];
  if (scape === null) return make("p", { class: "faint" }, "This side is not published.");
  const changes = new Map(pick("changes", row).map((change) => [change[1], change]));
  return make("div", { class: "lanes" }, labels.map((label) => makeLane(scape, side, label, changes.get(label))));
}

function makeLane(scape, side, label, change) {
  const ground = scape.backgrounds.includes(label);
  const events = scape.events.filter(([name]) => name === label);
  const changed = change === undefined ? "" : "changed";
  const bars = events.map(([, onset, length]) => {
    const bar = make("span");
    bar.style.left = `${(100 * onset) / scape.duration}%`;
    bar.style.width = `${(100 * length) / scape.duration}%`;
    return bar;
  });
  const values = [
    ...(ground ? [`background ${formatLevel(scape.level)} LUFS`] : []),
    ...events.map(([, onset, length, snr]) => `${onset.toFixed(1)}–${(onset + length).toFixed(1)} s, SNR ${formatLevel(snr)} dB`),
  ];
  const what = change === undefined ? "" : ` ${side === 1 ? change[0].split("_")[1] : "changes"}`;
  return make(
    "div",
    {},
    make("div", { class: `lane ${changed}` }, make("span", {}, label, what), make("span", { class: "value" }, values.join("; ") || "not here")),
    make("div", { class: `bar ${changed} ${ground ? "ground" : ""}`, "aria-hidden": "true" }, bars),
  );
}

function formatLevel(value) {
  return value.toFixed(1).replace("-", "−");
}

function makeSide(row, side, panel, labels) {
  const classes = pick("classes", row)[side].split(";").filter((name) => name !== "");
  const below = rows.scapes === undefined ? make("p", { class: "faint" }, `Events: ${classes.join(", ") || "none"}`) : makeLanes(row, side, labels);
  return make("div", { class: "two" }, panel, below);
}

const KIND = {
  noun: "pairs",
  getFile: (row, signal) => pick("files", row)[signal],
  makeCard(row) {
    const scapes = (pick("scapes", row) ?? []).filter((scape) => scape !== null);
    const labels = [...new Set([...scapes.flatMap((scape) => scape.backgrounds), ...scapes.flatMap((scape) => scape.events.map(([label]) => label))])];
    const panels = page.signals.length > 0 ? makePanels(row) : [null, null];
    const chips = pick("changes", row).map((change) => make("span", { class: "chip change" }, sayChange(change)));
    const between = make("div", { class: "between" }, make("p", { class: "said" }, pick("text", row)), make("p", {}, chips.length > 0 ? chips.flatMap((chip) => [chip, " "]) : "no change"));
    const sides = panels.map((panel, side) => makeSide(row, side, panel, labels));
    const where = make("p", { class: "line faint" }, `${pick("scene", row)}, ${pick("split", row)}`);
    return [make("h3", {}, pick("id", row)), where, make("div", { class: "pair" }, sides[0], between, sides[1])];
  },
  getText: (row) => [pick("id", row), pick("text", row), ...pick("changes", row).flat(), ...pick("classes", row)].join(" "),
  filters: [
    { name: "scene", label: "Scene", list: () => rows.scene.values, match: (row, value) => pick("scene", row) === value },
    { name: "split", label: "Split", list: () => rows.split.values, match: (row, value) => pick("split", row) === value },
    { name: "kind", label: "Kind of change", list: () => sortUnique(rows.changes.flat().map(([kind]) => kind.replace("_", " "))), match: (row, value) => pick("changes", row).some(([kind]) => kind.replace("_", " ") === value) },
    { name: "class", label: "Class that changes", list: () => sortUnique(rows.changes.flat().map(([, label]) => label)), match: (row, value) => pick("changes", row).some(([, label]) => label === value) },
    { name: "number", label: "Changes", list: () => sortUnique(rows.changes.map((changes) => String(changes.length))), match: (row, value) => String(pick("changes", row).length) === value },
  ],
  range: null,
  orders: [
    { name: "name", compare: (one, other) => one - other },
    { name: "text", compare: (one, other) => (pick("text", one) < pick("text", other) ? -1 : 1) },
  ],
};
