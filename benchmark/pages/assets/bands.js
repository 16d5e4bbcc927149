"use strict";
/* Accuracy and gains by band of SNR: a chart, and the table that it is drawn from. */

const CHART = { width: 640, height: 320, left: 46, right: 12, top: 12, bottom: 44 };
const MOST_SERIES = 8;
const MARKERS = ["circle", "square", "triangle", "diamond", "cross", "plus", "circle", "square"];

/** Fill the part of the page that shows bands of SNR. */
function drawBands(box, table, chosen) {
  const data = readData(`bands-${view.table}`);
  const settings = [...new Set(data.lines.flatMap((line) => Object.keys(line)))];
  const setting = chosen ?? (settings.includes("a* - mix") ? "a* - mix" : settings[0]);
  const shown = new Set(listShownLines(table));
  const lines = table.lines
    .map((line, i) => ({ name: line.name, values: data.lines[i][setting], shown: shown.has(line) }))
    .filter((line) => line.values !== undefined && line.shown);
  const control = makeSelect("band-setting", "Setting or gain", settings.map((name) => [name, name]), setting, (value) => {
    drawBands(box, table, value);
    document.getElementById("band-setting").focus();
  });
  if (lines.length === 0) {
    box.replaceChildren(make("div", { class: "controls" }, control), make("p", {}, "None of the shown encoders has bands of SNR."));
    return;
  }
  const gain = setting.includes(" - ");
  box.replaceChildren(
    make("div", { class: "controls" }, control),
    make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Chart" }, makeChart(data, lines.slice(0, MOST_SERIES), gain)),
    makeLegend(lines.slice(0, MOST_SERIES)),
    lines.length > MOST_SERIES ? make("p", { class: "faint" }, `The chart has the first ${MOST_SERIES} of ${lines.length} encoders; filters choose others.`) : "",
    make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Figures by band" }, makeBandTable(data, lines, gain)),
  );
}

function makeMarker(shape, x, y) {
  const paths = {
    circle: `M${x - 4} ${y}a4 4 0 1 0 8 0a4 4 0 1 0 -8 0`,
    square: `M${x - 4} ${y - 4}h8v8h-8z`,
    triangle: `M${x} ${y - 5}l5 9h-10z`,
    diamond: `M${x} ${y - 5.5}l5.5 5.5l-5.5 5.5l-5.5 -5.5z`,
    cross: `M${x - 4} ${y - 4}l8 8m0 -8l-8 8`,
    plus: `M${x - 5} ${y}h10m-5 -5v10`,
  };
  return make("path", { class: "marker", d: paths[shape] });
}

function makeChart(data, lines, gain) {
  const ends = lines.flatMap(({ values }) => values.flat()).filter((value) => value !== null);
  const [low, high] = gain ? [Math.min(0, ...ends), Math.max(0, ...ends)] : [0, 100];
  const step = [1, 2, 5, 10, 20, 25, 50].find((size) => (high - low) / size <= 6) ?? 100;
  const [first, last] = [Math.floor(low / step) * step, Math.ceil(high / step) * step];
  const inner = { width: CHART.width - CHART.left - CHART.right, height: CHART.height - CHART.top - CHART.bottom };
  const y = (value) => CHART.top + inner.height * (1 - (value - first) / (last - first));
  const x = (band, line) => CHART.left + (inner.width * (band + 0.5)) / data.bands.length + 9 * (line - (lines.length - 1) / 2);
  const svg = make("svg", { class: "chart", viewBox: `0 0 ${CHART.width} ${CHART.height}`, width: CHART.width, height: CHART.height, role: "img", "aria-label": "The table below has the figures of this chart." });
  for (let value = first; value <= last; value += step) {
    svg.append(
      make("line", { class: value === 0 && gain ? "axis" : "rule", x1: CHART.left, x2: CHART.width - CHART.right, y1: y(value), y2: y(value) }),
      make("text", { x: CHART.left - 6, y: y(value) + 4, "text-anchor": "end" }, gain && value > 0 ? `+${value}` : String(value)),
    );
  }
  data.bands.forEach((band, i) => svg.append(make("text", { x: CHART.left + (inner.width * (i + 0.5)) / data.bands.length, y: CHART.height - 24, "text-anchor": "middle" }, band)));
  svg.append(make("text", { x: CHART.left + inner.width / 2, y: CHART.height - 6, "text-anchor": "middle" }, "SNR (dB)"));
  lines.forEach(({ values }, line) => {
    const group = make("g", { class: `series series-${line}` });
    group.append(make("polyline", { points: values.map((value, band) => `${x(band, line)},${y(value[0])}`).join(" ") }));
    values.forEach(([mean, bottom, top], band) => {
      if (bottom !== null) group.append(make("line", { x1: x(band, line), x2: x(band, line), y1: y(bottom), y2: y(top) }));
      group.append(makeMarker(MARKERS[line], x(band, line), y(mean)));
    });
    svg.append(group);
  });
  return svg;
}

function makeLegend(lines) {
  return make("ul", { class: "legend" }, lines.map(({ name }, line) =>
    make("li", {}, make("svg", { width: 16, height: 16, "aria-hidden": "true" }, make("g", { class: `series series-${line}` }, makeMarker(MARKERS[line], 8, 8))), ` ${name}`)));
}

function makeBandTable(data, lines, gain) {
  const text = (value) => `${gain && value > 0 ? "+" : ""}${value.toFixed(1)}`;
  const header = ["encoder", ...data.bands.map((band, i) => `${band} dB (${data.counts[i]} mixtures)`)];
  const rows = lines.map(({ name, values }) =>
    make("tr", {}, make("th", { scope: "row" }, name), values.map(([mean, low, high]) => make("td", { class: "number" }, low === null ? text(mean) : `${text(mean)} [${low.toFixed(1)}, ${high.toFixed(1)}]`))));
  return make("table", {}, make("thead", {}, make("tr", {}, header.map((name, i) => make("th", { scope: "col", class: i ? "number" : null }, name)))), make("tbody", {}, rows));
}
