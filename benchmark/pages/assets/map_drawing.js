"use strict";
/* Drawing of the map on a canvas, and finding the point under the pointer. */

const MAP_MARGIN = 22;
const REACH = 14;
const CROWD = 250;
const PATHS = {
  mix: "M-3.5 -3.5h7v7h-7z",
  remainder: "M0 -5l4.5 8h-9z",
  clean: "M-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0 -9 0",
};

/** Coordinates of a packed axis. */
function unpackAxis([packed, low, step]) {
  return Float64Array.from(unpack(packed), (value) => low + step * value);
}

/** From the plane of a layout to the pixels of the canvas, with one scale for both axes. */
function fitPlane(layout, width, height) {
  const range = (axis) => axis.reduce(([low, high], value) => [Math.min(low, value), Math.max(high, value)], [Infinity, -Infinity]);
  const [x, y] = [range(layout.x), range(layout.y)];
  const scale = Math.min((width - 2 * MAP_MARGIN) / (x[1] - x[0] || 1), (height - 2 * MAP_MARGIN) / (y[1] - y[0] || 1));
  const [middleX, middleY] = [(x[0] + x[1]) / 2, (y[0] + y[1]) / 2];
  return (i) => [width / 2 + (layout.x[i] - middleX) * scale, height / 2 - (layout.y[i] - middleY) * scale];
}

/**
 * Draw the shown points and lines.
 * @param scene `shown` (rows of mixtures), `clean` (clean clips), `place(kind, row)`, `own`, `landed`, `marked` (a row or -1).
 */
function drawMap(canvas, scene) {
  const ratio = window.devicePixelRatio || 1;
  const { clientWidth: width, clientHeight: height } = canvas;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const context = canvas.getContext("2d");
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(`--${name}`).trim();
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  const crowded = Math.min(1, Math.sqrt(CROWD / Math.max(1, scene.shown.length)));
  const faint = scene.marked >= 0 ? 0.25 * crowded : 1;
  const size = Math.max(0.6, crowded);
  const thin = Math.max(0.12, Math.min(0.8, 40 / Math.max(1, scene.shown.length)));
  for (const row of scene.shown) drawLines(context, scene, row, colour, thin * faint, 1);
  for (const row of scene.shown) drawPoint(context, "mix", scene.place("mix", row), colour("mix"), 0.55 * faint, size);
  for (const row of scene.shown) drawPoint(context, "remainder", scene.place("remainder", row), colour("remainder"), 0.75 * faint, size);
  for (const row of scene.clean) drawPoint(context, "clean", scene.place("clean", row), colour("clean"), 0.9 * faint, size);
  if (scene.marked >= 0) {
    drawLines(context, scene, scene.marked, colour, 1, 2);
    for (const kind of ["mix", "remainder", "clean"]) {
      const row = kind === "clean" ? scene.own[scene.marked] : scene.marked;
      if (kind !== "clean" || scene.hasClean) drawPoint(context, kind, scene.place(kind, row), colour(kind), 1, 1.7, colour("ink"));
    }
  }
}

function drawLines(context, scene, row, colour, alpha, width) {
  context.globalAlpha = alpha;
  const line = (from, to, name, dash) => {
    context.strokeStyle = colour(name);
    context.lineWidth = width;
    context.setLineDash(dash);
    context.beginPath();
    context.moveTo(...from);
    context.lineTo(...to);
    context.stroke();
  };
  const remainder = scene.place("remainder", row);
  line(scene.place("mix", row), remainder, "mix", [1, 3]);
  if (scene.hasClean) line(remainder, scene.place("clean", scene.own[row]), scene.landed[row] ? "landed" : "missed", scene.landed[row] ? [] : [4, 3]);
  context.setLineDash([]);
}

function drawPoint(context, kind, [x, y], colour, alpha, scale, outline) {
  const path = new Path2D(PATHS[kind]);
  context.save();
  context.translate(x, y);
  context.scale(scale, scale);
  context.globalAlpha = alpha;
  if (kind === "mix") {
    context.strokeStyle = colour;
    context.lineWidth = 1.2;
    context.stroke(path);
  } else {
    context.fillStyle = colour;
    context.fill(path);
  }
  if (outline) {
    context.strokeStyle = outline;
    context.lineWidth = 1;
    context.stroke(path);
  }
  context.restore();
}

/** The shown point nearest to a place on the canvas, within reach; null for none. */
function findPoint(scene, x, y) {
  let found = null;
  let nearest = REACH * REACH;
  const look = (kind, rows) => {
    for (const row of rows) {
      const [px, py] = scene.place(kind, row);
      const distance = (px - x) ** 2 + (py - y) ** 2;
      if (distance < nearest) [nearest, found] = [distance, { kind, row }];
    }
  };
  look("clean", scene.clean);
  look("remainder", scene.shown);
  look("mix", scene.shown);
  return found;
}
