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

/** Characters that cannot be seen or turn the direction of a line, so that a name could pass for another. */
const UNSAFE = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\u{e0000}-\u{e007f}]/gu;

/** Text with such characters written as commands write them. */
function showText(text) {
  return String(text).replace(UNSAFE, (found) => {
    const code = found.codePointAt(0).toString(16);
    return code.length <= 2 ? `\\x${code.padStart(2, "0")}` : code.length <= 4 ? `\\u${code.padStart(4, "0")}` : `\\U${code.padStart(8, "0")}`;
  });
}

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
  const shown = children.flat().filter((child) => child !== null && child !== undefined);
  element.append(...shown.map((child) => (child instanceof Node ? child : showText(child))));
  return element;
}

/** Say something to those who use a screen reader. */
function announce(text) {
  document.getElementById("announcements").textContent = text;
}

/** Copy a text; where the clipboard is closed to pages from disk, through a selection. Returns whether it worked. */
async function copyText(text) {
  let copied = true;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = make("textarea", { class: "hidden-visually" });
    area.value = text;
    document.body.append(area);
    area.select();
    copied = document.execCommand("copy");
    area.remove();
  }
  announce(copied ? "Copied" : "This browser does not let the page copy");
  return copied;
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
