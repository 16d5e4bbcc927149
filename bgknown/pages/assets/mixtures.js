"use strict";
/* What a card of BgKnown shows. */

const SIGNAL_FOLDERS = ["mix", "a", "b", "c"];

function getClip(row) {
  return rows.clips[rows.clip[row]];
}

function getRecording(row) {
  return rows.recordings[rows.recording[row]];
}

/** The background's labels: all of them where the dataset has them, else the first, which is in the JAMS. */
function listLabels(row) {
  const text = getRecording(row).labels ?? pick("label", row) ?? "";
  return text.split(",").map((label) => label.trim()).filter((label) => label !== "");
}

function formatDb(value) {
  return `${value.toFixed(2).replace("-", "−")} dB`;
}

function describeSource(role, source) {
  const name = source.title || source.file;
  const licence = source.licence ? makeLink(source.licence_url ?? "", source.licence) : null;
  return make(
    "p",
    {},
    make("strong", {}, role),
    " ",
    makeLink(source.url ?? "", name),
    source.title ? ` (${source.file})` : null,
    source.uploader ? ` by ${source.uploader}` : null,
    licence ? ", " : null,
    licence,
  );
}

/** The recording as a strip, with a, b and c in it. */
function makeStrip(row) {
  const length = pick("duration", row);
  const starts = pick("start", row).map((start) => start / rows.rateHz);
  const end = Math.max(...starts) + length;
  const parts = [make("rect", { class: "track", x: "0", y: "1", width: "100%", height: "52" })];
  const said = [];
  for (const [place, start] of starts.entries()) {
    const name = "abc"[place];
    const y = 4 + 16 * place;
    const rect = { class: `crop ${name}`, x: `${(100 * start) / end}%`, y, width: `${(100 * length) / end}%`, height: 14 };
    parts.push(make("rect", rect), make("text", { x: `${(100 * (start + length / 2)) / end}%`, y: y + 11, "text-anchor": "middle" }, name));
    said.push(`${name}\u00a0${start.toFixed(1)}–${(start + length).toFixed(1)}\u00a0s`);
  }
  const text = said.join(", ");
  const picture = make("svg", { class: "strip", role: "img", "aria-label": `Where the references are in the recording: ${text}` }, ...parts);
  return make("div", {}, picture, make("p", { class: "faint" }, `In the recording, which is at least ${end.toFixed(1)} s long: ${text}`));
}

function describeLevels(row) {
  const parts = [`clip ${formatDb(pick("eventGain", row))}`, `background ${formatDb(pick("backgroundGain", row))}`];
  const scale = pick("scale", row) < 1 ? `, then all × ${pick("scale", row)} against clipping` : "";
  const event = pick("event", row) / rows.rateHz;
  return `Gains: ${parts.join(", ")}${scale}. The clip ends at ${event.toFixed(2)} s. Background at ${String(pick("reference", row)).replace("-", "−")} LUFS.`;
}

const KIND = {
  noun: "mixtures",
  getFile(row, signal) {
    if (signal < SIGNAL_FOLDERS.length) return rows.files?.[row][signal] ?? `audio/${SIGNAL_FOLDERS[signal]}/${pick("id", row)}${rows.suffix}`;
    return page.remainders === "" ? "" : `${page.remainders}/${rows.remainder?.[row] ?? `${pick("id", row)}.flac`}`;
  },
  makeCard(row) {
    const draw = pick("draw", row);
    const where = `${pick("split", row)}, fold ${pick("fold", row)}${draw === undefined ? "" : `, draw ${draw}`}`;
    const snr = `SNR ${formatDb(pick("achieved", row))} (asked: ${formatDb(pick("asked", row))})`;
    const line = make("p", { class: "line" }, make("span", { class: "chip" }, pick("category", row)), ` ${where} · ${snr} · background: ${listLabels(row).join(", ") || "not labelled"}`);
    if (pick("same", row) === "1") line.append(" ", make("span", { class: "chip change" }, "the background contains the class"));
    const panels = make("div", { class: "panels five" }, makePanels(row));
    const sources = make("div", {}, describeSource("Clip", getClip(row)), describeSource("Background", getRecording(row)), make("p", { class: "faint" }, describeLevels(row)));
    return [make("h3", {}, pick("id", row)), line, panels, make("div", { class: "below" }, makeStrip(row), sources)];
  },
  getText(row) {
    const sources = [getClip(row), getRecording(row)].map((source) => `${source.file} ${source.title ?? ""} ${source.uploader ?? ""}`);
    return [pick("id", row), pick("category", row), ...listLabels(row), ...sources].join(" ");
  },
  filters: [
    { name: "category", label: "Class", list: () => rows.category.values, match: (row, value) => pick("category", row) === value },
    { name: "split", label: "Split", list: () => rows.split.values, match: (row, value) => pick("split", row) === value },
    { name: "label", label: "Background label", list: () => sortUnique(rows.id.flatMap((_, row) => listLabels(row))), match: (row, value) => listLabels(row).includes(value) },
    ...(rows.same === undefined ? [] : [{ name: "same", label: "Background contains the class", list: () => ["yes", "no", "not known"], match: (row, value) => ({ 1: "yes", 0: "no" })[pick("same", row)] === value || (pick("same", row) === "" && value === "not known") }]),
  ],
  range: { label: "SNR", get: (row) => pick("achieved", row) },
  orders: [
    { name: "name", compare: (one, other) => one - other },
    { name: "SNR, low first", compare: (one, other) => pick("achieved", one) - pick("achieved", other) },
    { name: "SNR, high first", compare: (one, other) => pick("achieved", other) - pick("achieved", one) },
    { name: "class", compare: (one, other) => rows.category.places[one] - rows.category.places[other] || one - other },
    { name: "background", compare: (one, other) => rows.recording[one] - rows.recording[other] || one - other },
  ],
};
