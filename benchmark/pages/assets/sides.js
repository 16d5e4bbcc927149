"use strict";
/* Sides: an encoder in a setting and a metric, with what it predicted for every test clip. */

/** The runs of the shown tab, each with the line of the table that it belongs to. */
function listTabRuns(table) {
  const runs = new Map();
  table.lines.forEach((line) => {
    for (const cell of line.cells) if (cell !== null && cell[5] >= 0 && !runs.has(cell[5])) runs.set(cell[5], line.name);
  });
  return [...runs].map(([run, name]) => ({ run, name }));
}

/** The settings of a run in a metric that have predictions. */
function listRunSettings(run, metric) {
  const ends = `\t${metric}`;
  return readData("runs")[run].series.filter((key) => key.endsWith(ends)).map((key) => key.slice(0, -ends.length));
}

/** Whether two figures of a table were measured on the same clips. */
function hasPairs(table) {
  const counts = new Map();
  for (const { run } of listTabRuns(table)) {
    const { clips } = readData("runs")[run];
    counts.set(clips, (counts.get(clips) ?? 0) + listRunSettings(run, table.metric).length);
  }
  return [...counts.values()].some((count) => count > 1);
}

/** One side: its name, its series, and for each clip the share of seeds that are right. */
function makeSide(run, name, setting, metric) {
  const clips = readClips(readData("runs")[run].clips);
  const series = readSeries(run, setting, metric);
  return { run, name, setting, metric, clips, series, right: shareRight(series, clips.clips.length) };
}

/** The clips in four parts: where each side is better, and where both are equal: right or wrong. */
function divideClips(a, b) {
  const parts = { a: [], b: [], right: [], wrong: [] };
  a.right.forEach((share, i) => {
    const other = b.right[i];
    if (share === null || other === null) return;
    if (share > other) parts.a.push(i);
    else if (share < other) parts.b.push(i);
    else (share >= 0.5 ? parts.right : parts.wrong).push(i);
  });
  return parts;
}

/** A labelled select element; options are [value, text]. */
function makeSelect(id, label, options, chosen, change) {
  const select = make("select", { id }, options.map(([value, text]) => make("option", { value, selected: String(value) === String(chosen) }, text)));
  select.addEventListener("change", () => change(select.value));
  return make("label", { for: id }, label, select);
}

function formatShare(part, whole) {
  return whole ? `${((100 * part) / whole).toFixed(1)} %` : "";
}

function formatCount(count) {
  return count.toLocaleString("en-US");
}
