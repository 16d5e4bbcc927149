"use strict";
/* Packed columns (benchmark/pages/packing.py), and the predictions of runs, unpacked when they are first shown. */

/** The numbers of a packed column; of one with single bits 0 and 1. */
function unpack([bits, count, text]) {
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  if (bits === 1) return Uint8Array.from({ length: count }, (_, i) => (bytes[i >> 3] >> (i & 7)) & 1);
  const view = new DataView(bytes.buffer);
  if (bits === 8) return bytes;
  if (bits === 16) return Uint16Array.from({ length: count }, (_, i) => view.getUint16(2 * i, true));
  return Uint32Array.from({ length: count }, (_, i) => view.getUint32(4 * i, true));
}

const clipTables = new Map();

/** The test clips of a dataset: ids, names of labels, groups, backgrounds and sources, SNRs and audio. */
function readClips(number) {
  if (!clipTables.has(number)) {
    const block = readData(`clips-${number}`);
    const table = { ...block, label: unpack(block.label), group: unpack(block.group), background: unpack(block.background) };
    table.source = unpack(block.source);
    table.labelOf = new Map();
    block.clips.forEach((id, i) => {
      table.labelOf.set(id, block.names[table.label[i]]);
      if (table.source.length) table.labelOf.set(block.names[table.source[i]], block.names[table.label[i]]);
    });
    clipTables.set(number, table);
  }
  return clipTables.get(number);
}

const seriesOfRuns = new Map();

/** The series of a run in one setting and metric, one for each seed: what was predicted, and what was right. */
function readSeries(run, setting, metric) {
  const key = `${run}\t${setting}\t${metric}`;
  if (run >= 0 && !seriesOfRuns.has(key)) {
    const block = readData(`run-${run}`);
    const found = block.series[`${setting}\t${metric}`] ?? [];
    const made = found.map(([seed, predicted, right]) => ({
      seed,
      predicted: unpack(block.pool[predicted]),
      right: unpack(block.pool[right]),
      missing: block.missing,
    }));
    seriesOfRuns.set(key, made);
  }
  return seriesOfRuns.get(key) ?? [];
}

/** For each clip the share of seeds that were right; null for a clip that no seed has. */
function shareRight(series, count) {
  return Array.from({ length: count }, (_, i) => {
    const seen = series.filter((one) => one.predicted[i] !== one.missing);
    return seen.length ? seen.reduce((sum, one) => sum + one.right[i], 0) / seen.length : null;
  });
}

/** What was predicted for a clip: each name with the number of its seeds, the most frequent first. */
function listPredicted(series, names, i) {
  const counts = new Map();
  for (const one of series) {
    if (one.predicted[i] !== one.missing) counts.set(one.predicted[i], (counts.get(one.predicted[i]) ?? 0) + 1);
  }
  return [...counts].sort((a, b) => b[1] - a[1]).map(([name, count]) => ({ name: names[name], count }));
}
