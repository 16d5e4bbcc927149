"use strict";
/*
 * The player. All signals of a row play together, all but one muted, so that switching is a change of which one is
 * heard: at the same position, without a gap. Elements start some milliseconds apart; the muted ones run a little
 * faster or slower until they are together again. (Web Audio would be exact, but may not read files next to a page
 * from disk.)
 */

const ALIGNED_S = 0.008;
const NEAR_S = 0.06;
const FAR_S = 0.4;
const player = { row: null, signal: 0, before: 1, audio: [], failed: new Set(), playing: false, base: null, frame: 0, onchange: () => {} };

/** Where the audio of a signal may be, best guess first. */
function listAddresses(row, signal) {
  if (page.inline) return [readData(`audio-${row}`)[signal]].filter((address) => address !== "");
  const file = KIND.getFile(row, signal);
  if (file === "") return [];
  if (file.startsWith(`${page.remainders}/`) && page.remainders !== "") return [encodePath(file)];
  const typed = player.base === null ? [] : [/^[a-z]+:\/\//i.test(player.base) ? player.base : encodePath(player.base)];
  return [...typed, ...page.base.map(encodePath)].map((base) => base + encodePath(file));
}

function makeAudio(row, signal) {
  const addresses = listAddresses(row, signal);
  const audio = make("audio", { preload: "auto", "data-signal": page.signals[signal][0] });
  audio.muted = signal !== player.signal;
  audio.preservesPitch = false;
  audio.loop = document.getElementById("repeat").checked;
  audio.addEventListener("error", () => {
    if (addresses.length > 0) audio.src = addresses.shift();
    else {
      player.failed.add(signal);
      reportMissing();
      if (signal === player.signal && player.playing) stopAt(0);
    }
  });
  audio.addEventListener("ended", () => {
    if (signal === player.signal) stopAt(0);
  });
  if (addresses.length > 0) audio.src = addresses.shift();
  else player.failed.add(signal);
  return audio;
}

/** Make a row the one that plays; it starts if the one before was playing. */
function openRow(row) {
  if (player.row === row) return;
  const goesOn = player.playing;
  closeAudio();
  player.row = row;
  player.failed = new Set();
  player.audio = page.signals.map((_, signal) => makeAudio(row, signal));
  document.getElementById("audio").replaceChildren(...player.audio);
  reportMissing();
  if (goesOn) startAt(0);
  else refreshPlayer();
}

function closeAudio() {
  player.playing = false;
  for (const audio of player.audio) {
    audio.pause();
    audio.removeAttribute("src");
    audio.load();
  }
}

function getHeard() {
  return player.audio[player.signal];
}

function getPosition() {
  return getHeard()?.currentTime ?? 0;
}

function waitUntilReady(audio, signal) {
  if (audio.readyState >= 3 || player.failed.has(signal)) return Promise.resolve();
  return new Promise((done) => {
    for (const event of ["canplay", "error"]) audio.addEventListener(event, done, { once: true });
    setTimeout(done, 2000);
  });
}

/** Play all signals from a position, in seconds; one is heard. */
async function startAt(position) {
  const opened = player.audio;
  player.playing = true;
  refreshPlayer();
  await Promise.all(opened.map(waitUntilReady));
  if (opened !== player.audio || !player.playing) return;
  const there = opened.filter((_, signal) => !player.failed.has(signal));
  for (const audio of there) audio.currentTime = Math.min(position, audio.duration || position);
  const started = await Promise.allSettled(there.map((audio) => audio.play()));
  if (opened !== player.audio) return;
  if (started.every(({ status }) => status === "rejected")) stopAt(position);
  cancelAnimationFrame(player.frame);
  followPosition();
}

function stopAt(position) {
  player.playing = false;
  for (const audio of player.audio) {
    audio.pause();
    if (audio.readyState > 0) audio.currentTime = position;
  }
  refreshPlayer();
}

function togglePlaying() {
  if (player.row === null && shown.length > 0) selectRow(shown[0]);
  if (player.row === null) return;
  if (player.playing) stopAt(getPosition());
  else startAt(getPosition());
}

/** Hear another signal at the same position. */
function switchTo(signal) {
  if (signal >= page.signals.length || signal === player.signal) return;
  const [heard, next] = [getHeard(), player.audio[signal]];
  player.before = player.signal;
  player.signal = signal;
  if (next !== undefined) {
    if (next.readyState > 0 && Math.abs(next.currentTime - heard.currentTime) > NEAR_S) next.currentTime = heard.currentTime;
    next.playbackRate = 1;
    next.muted = false;
    heard.muted = true;
  }
  refreshPlayer();
}

function seekTo(position) {
  const end = getHeard()?.duration || 0;
  const place = Math.max(0, Math.min(position, end));
  for (const audio of player.audio) if (audio.readyState > 0) audio.currentTime = place;
  refreshPlayer();
}

/** Bring the muted signals to the position of the one that is heard. */
function alignSignals() {
  if (!player.playing) return;
  const heard = getHeard();
  for (const audio of player.audio) {
    if (audio === heard || audio.readyState < 3 || audio.seeking) continue;
    const late = heard.currentTime - audio.currentTime;
    if (Math.abs(late) > FAR_S) audio.currentTime = heard.currentTime;
    else audio.playbackRate = Math.abs(late) < ALIGNED_S ? 1 : 1 + Math.max(-0.3, Math.min(3 * late, 0.3));
  }
}

function followPosition() {
  refreshPosition();
  if (player.playing) player.frame = requestAnimationFrame(followPosition);
}

function refreshPosition() {
  const duration = getHeard()?.duration || pick("duration", player.row ?? 0) || 1;
  const share = Math.min(getPosition() / duration, 1);
  const seek = document.getElementById("seek");
  if (document.activeElement !== seek || player.playing) seek.value = String(Math.round(1000 * share));
  seek.setAttribute("aria-valuetext", `${getPosition().toFixed(1)} s`);
  document.getElementById("time").textContent = `${getPosition().toFixed(1)} s`;
  for (const line of document.querySelectorAll('[aria-current="true"] .playhead')) {
    line.hidden = false;
    line.style.left = `${100 * share}%`;
  }
}

function refreshPlayer() {
  document.getElementById("play").textContent = player.playing ? "Pause" : "Play";
  document.getElementById("now").textContent = player.row === null ? "nothing chosen yet" : pick("id", player.row);
  for (const [place, button] of [...document.getElementById("signals").children].entries()) {
    button.setAttribute("aria-pressed", String(place === player.signal));
  }
  player.onchange();
  refreshPosition();
}

/** Say which audio is not there, and let people say where it is. */
function reportMissing() {
  const notice = document.getElementById("missing");
  const names = [...player.failed].map((signal) => page.signals[signal][0]);
  notice.hidden = names.length === 0;
  if (names.length === 0 || page.inline) {
    notice.textContent = names.length === 0 ? "" : `This page has no audio of ${names.join(", ")}.`;
    return;
  }
  const input = make("input", { type: "text", id: "base", value: player.base ?? page.base[0] });
  const use = () => {
    player.base = input.value.replace(/\/*$/, "/");
    const row = player.row;
    player.row = null;
    openRow(row);
  };
  const remainders = page.remainders === "" ? "" : ` and for the remainders in “${page.remainders}/”`;
  notice.replaceChildren(
    `No audio found for ${names.join(", ")}: this page looks for the dataset in “${page.base[0] || "./"}”${remainders}, seen from its own folder. Move it back there, or say where the dataset is: `,
    make("label", {}, make("span", { class: "hidden-visually" }, "Folder or address of the dataset"), input),
    " ",
    make("button", { type: "button", onclick: use }, "Use"),
  );
}

function setUpPlayer() {
  for (const [place, [name]] of page.signals.entries()) {
    const button = make("button", { type: "button", "aria-pressed": "false", onclick: () => switchTo(place) }, name, " ", make("kbd", {}, place + 1));
    document.getElementById("signals").append(button);
  }
  document.getElementById("play").addEventListener("click", togglePlaying);
  document.getElementById("seek").addEventListener("input", ({ target }) => seekTo((Number(target.value) / 1000) * (getHeard()?.duration || 0)));
  document.getElementById("repeat").addEventListener("change", ({ target }) => {
    for (const audio of player.audio) audio.loop = target.checked;
  });
  setInterval(alignSignals, 100);
  refreshPlayer();
}
