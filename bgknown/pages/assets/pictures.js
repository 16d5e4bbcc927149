"use strict";
/* Pictures of audio: unpacked when a row is first shown, and drawn on canvases. */

const page = readData("page");
const rows = readData("rows");
const PALETTE = [
  [0, 34, 78], [0, 46, 108], [30, 58, 111], [53, 69, 108], [71, 81, 108], [87, 93, 109], [102, 105, 112], [117, 117, 117],
  [132, 130, 121], [148, 142, 119], [165, 156, 116], [183, 169, 110], [200, 184, 102], [219, 199, 90], [238, 214, 73], [254, 232, 56],
];
const unpacked = new Map();

/** The value of a column in a row: a column is a list, one value for all rows, or places in a list of values. */
function pick(name, row) {
  const column = rows[name];
  if (column === undefined || column === null) return undefined;
  if (Array.isArray(column)) return column[row];
  if ("all" in column) return column.all;
  return "values" in column ? column.values[column.places[row]] : column;
}

/** Bytes of a row's pictures and outlines. */
function countBytes(row) {
  return pick("width", row).reduce((sum, width) => sum + (width * page.bands) / 2 + 2 * width, 0);
}

function unpackChunk(number) {
  if (!unpacked.has(number)) {
    const bytes = Uint8Array.from(atob(readData(`pictures-${number}`)), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    unpacked.set(number, new Response(stream).arrayBuffer().then((buffer) => new Uint8Array(buffer)));
  }
  return unpacked.get(number);
}

/** The pictures of a row, one per signal: width, levels (two pixels to a byte) and outline. */
async function getPictures(row) {
  const chunk = Math.floor(row / page.chunkRows);
  const bytes = await unpackChunk(chunk);
  let offset = 0;
  for (let before = chunk * page.chunkRows; before < row; before += 1) offset += countBytes(before);
  const take = (length) => bytes.subarray(offset, (offset += length));
  const pictures = pick("width", row).map((width) => ({ width, levels: take((width * page.bands) / 2) }));
  for (const picture of pictures) picture.outline = take(2 * picture.width);
  return pictures;
}

/** Draw the levels: time to the right, low bands at the bottom. */
function drawLevels(canvas, { width, levels }) {
  const height = page.bands;
  canvas.width = width;
  canvas.height = height;
  const image = new ImageData(width, height);
  for (let pixel = 0; pixel < width * height; pixel += 1) {
    const byte = levels[pixel >> 1];
    const level = pixel % 2 === 0 ? byte >> 4 : byte & 15;
    const place = ((height - 1 - (pixel % height)) * width + Math.floor(pixel / height)) * 4;
    image.data.set(PALETTE[level], place);
    image.data[place + 3] = 255;
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
}

/** The waveform as an outline that is the same above and below the middle. */
function makeOutline({ outline }) {
  const points = [...outline].map((peak, place) => [place + 0.5, Math.max(peak, 0.3)]);
  const above = points.map(([x, y]) => `${x},${32 - y}`);
  const below = points.reverse().map(([x, y]) => `${x},${32 + y}`);
  const shape = make("path", { d: `M${above.join("L")}L${below.join("L")}Z`, fill: "currentColor" });
  return make("svg", { viewBox: `0 0 ${outline.length} 64`, preserveAspectRatio: "none", "aria-hidden": "true" }, shape);
}

function drawScale(canvas) {
  const image = new ImageData(PALETTE.length, 1);
  PALETTE.forEach((colour, place) => image.data.set([...colour, 255], place * 4));
  canvas.getContext("2d").putImageData(image, 0, 0);
}
