"use strict";
/* What the scripts of all pages share. Text from data only ever becomes text, never markup. */

const dataBlocks = new Map();

/** The value of a block of data, parsed when it is first asked for. */
function readData(name) {
  if (!dataBlocks.has(name)) {
    const block = document.getElementById(`data-${name}`);
    dataBlocks.set(name, block === null ? null : JSON.parse(block.textContent));
  }
  return dataBlocks.get(name);
}

const SVG = "http://www.w3.org/2000/svg";
const SVG_TAGS = new Set(["svg", "g", "path", "line", "rect", "circle", "text", "polyline", "title", "desc"]);

/**
 * An element with attributes and children. Children that are not elements become text. `on...` attributes are
 * functions; true and false set and leave out an attribute; null and undefined children are left out.
 */
function make(tag, attributes = {}, ...children) {
  const element = SVG_TAGS.has(tag) ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, String(value));
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

/** Say something to those who use a screen reader. */
function announce(text) {
  document.getElementById("announcements").textContent = text;
}

/** Copy a text; where the clipboard is closed to pages from disk, through a selection. */
async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = make("textarea", { class: "hidden-visually" });
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  announce("Copied");
}

/** A link that leaves the page, only to a web address; anything else stays text. */
function makeLink(address, text) {
  const safe = /^https?:\/\//.test(address);
  return safe ? make("a", { href: address, rel: "noreferrer noopener", target: "_blank" }, text) : make("span", {}, text);
}

/** The path of a file beside the page, each part of it encoded, so that no name can leave the folder or be a query. */
function encodePath(path) {
  return path.split("/").map(encodeURIComponent).join("/");
}
