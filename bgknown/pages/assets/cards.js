"use strict";
/* The list: one card per row, filled while it is near the window. */

const cards = [];
let shown = [];

const watcher = new IntersectionObserver(
  (entries) => {
    for (const { target, isIntersecting } of entries) {
      const row = Number(target.dataset.row);
      if (isIntersecting) fillCard(row);
      else if (row !== player.row && !target.contains(document.activeElement)) emptyCard(row);
    }
  },
  { rootMargin: "800px 0px" },
);

function makeCards() {
  for (let row = 0; row < rows.id.length; row += 1) {
    const card = make("article", { class: "card", tabindex: "-1", "data-row": row, "aria-label": pick("id", row) });
    cards.push(card);
  }
}

/** Show these rows, in this order. */
function showRows(places) {
  watcher.disconnect();
  for (const row of shown) emptyCard(row);
  shown = places;
  document.getElementById("list").replaceChildren(...places.map((row) => cards[row]));
  for (const row of places) watcher.observe(cards[row]);
}

function fillCard(row) {
  const card = cards[row];
  if (card.firstChild !== null) return;
  card.replaceChildren(...KIND.makeCard(row));
  card.style.minHeight = "";
  refreshCard(row);
}

function emptyCard(row) {
  const card = cards[row];
  if (card.firstChild === null) return;
  card.style.minHeight = `${card.offsetHeight}px`;
  card.replaceChildren();
}

/** The waveform and the picture of each signal of a row, each a button that plays it. */
function makePanels(row) {
  const panels = page.signals.map(([name, about], signal) => makePanel(row, signal, name, about));
  getPictures(row).then((pictures) => {
    pictures.forEach((picture, signal) => {
      const box = panels[signal].querySelector(".pictures");
      if (picture.width === 0) {
        box.replaceChildren(make("span", { class: "absent" }, "no audio"));
        return;
      }
      drawLevels(box.querySelector("canvas"), picture);
      box.prepend(makeOutline(picture));
    });
  });
  return panels;
}

function makePanel(row, signal, name, about) {
  const label = `Play ${name} of ${pick("id", row)}: ${about}`;
  const button = make(
    "button",
    { type: "button", class: "panel", "aria-label": label, "aria-pressed": "false", "data-signal": signal, onclick: (event) => playPanel(event, row, signal) },
    make("span", { class: "name" }, make("kbd", {}, signal + 1), " ", name),
    make("span", { class: "about" }, about),
    make("span", { class: "pictures" }, make("canvas", { "aria-hidden": "true" }), make("span", { class: "playhead", hidden: true })),
  );
  return button;
}

/** Play a panel's signal: from where it was clicked, or, by keyboard, from where the row is; again to pause. */
function playPanel(event, row, signal) {
  const same = player.row === row;
  const again = same && player.signal === signal && player.playing;
  const byKeyboard = event.detail === 0;
  if (again && byKeyboard) {
    togglePlaying();
    return;
  }
  const wasPlaying = player.playing;
  player.playing = false;
  openRow(row);
  switchTo(signal);
  const box = event.currentTarget.querySelector(".pictures").getBoundingClientRect();
  const share = (event.clientX - box.left) / box.width;
  const onPicture = !byKeyboard && event.clientY >= box.top;
  const duration = pick("duration", row);
  player.playing = same && wasPlaying;
  if (onPicture) startAt(Math.max(0, share) * duration);
  else if (!player.playing) startAt(same ? getPosition() : 0);
}

/** Open a row in the player and bring its card into view. */
function selectRow(row) {
  if (page.signals.length > 0) openRow(row);
  fillCard(row);
  cards[row].scrollIntoView({ block: "nearest" });
  cards[row].focus({ preventScroll: true });
  refreshCard(row);
}

function moveBy(step) {
  if (shown.length === 0) return;
  const place = shown.indexOf(player.row);
  selectRow(shown[place < 0 ? 0 : Math.max(0, Math.min(place + step, shown.length - 1))]);
}

function refreshCard(row) {
  const current = row === player.row;
  if (current) cards[row].setAttribute("aria-current", "true");
  else cards[row].removeAttribute("aria-current");
  for (const panel of cards[row].querySelectorAll(".panel")) {
    panel.setAttribute("aria-pressed", String(current && Number(panel.dataset.signal) === player.signal));
    const line = panel.querySelector(".playhead");
    if (!current && line !== null) line.hidden = true;
  }
}

let marked = null;
player.onchange = () => {
  if (marked !== null && marked !== player.row) refreshCard(marked);
  marked = player.row;
  if (marked !== null) refreshCard(marked);
};
