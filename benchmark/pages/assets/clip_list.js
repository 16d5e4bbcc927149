"use strict";
/* Lists of test clips: what each is, what was predicted, and buttons that play it where its audio is next to the page. */

const FIRST_CLIPS = 20;
const MORE_CLIPS = 100;
const SIGNAL_NAMES = { mix: "mixture", a: "background a", b: "background b", c: "background c", clean: "clean clip", audio: "clip" };

/** The address of a signal of a clip, by the clip's row or, of a clean clip, by its name; null where there is no file. */
function findAudio(clips, signal, key) {
  const found = clips.audio[signal];
  if (found === undefined) return null;
  const file = typeof found.files === "string" ? found.files.replaceAll("*", key) : found.files[key];
  return file === undefined ? null : encodePath(`${found.folder}/${file}`);
}

/** The signals of a clip that a setting is about, each with its address. */
function listSignals(clips, i, settings) {
  const references = ["a", "b", "c"].filter((name) => settings.some((setting) => setting.startsWith(name)));
  const names = ["audio", "mix", ...(references.length ? references : ["a"]), "clean"];
  return names
    .map((name) => [name, findAudio(clips, name, name === "clean" ? nameSource(clips, i) : clips.clips[i])])
    .filter(([, address]) => address !== null);
}

/** The clip that a row of a dataset is made of. */
function nameSource(clips, i) {
  return clips.source.length ? clips.names[clips.source[i]] : clips.clips[i];
}

function play(address, text) {
  const audio = document.getElementById("audio");
  document.getElementById("player").hidden = false;
  document.getElementById("playing").textContent = text;
  audio.src = address;
  audio.play().catch(() => announce(`${text} cannot be played`));
  announce(`Playing ${text}`);
}

function makePlayButton(address, name, clip) {
  const button = make("button", { type: "button", class: "play", "aria-label": `Play ${SIGNAL_NAMES[name] ?? name} of ${clip}` }, `▶ ${name}`);
  button.addEventListener("click", () => play(address, `${SIGNAL_NAMES[name] ?? name} of ${clip}`));
  return button;
}

/** What a side predicted for a clip: a class, or of a retrieval the clip that came first, with its class. */
function makePredicted(side, i) {
  const wrong = side.right[i] < 1;
  const parts = listPredicted(side.series, side.clips.names, i).map(({ name, count }) => {
    const label = side.clips.labelOf.get(name);
    const times = side.series.length > 1 ? ` (${count} of ${side.series.length} seeds)` : "";
    const address = label === undefined ? null : findAudio(side.clips, "clean", name) ?? findAudio(side.clips, "audio", name);
    const text = label === undefined ? name : `${name}: ${label}`;
    return make("span", { class: "predicted" }, text + times, address === null ? null : makePlayButton(address, "clean", name));
  });
  return make("td", { class: wrong ? "wrong" : "right" }, make("span", { class: "hidden-visually" }, wrong ? "wrong: " : "right: "), parts);
}

/**
 * A list of clips.
 * @param sides one or two sides, which share their clips.
 * @param places rows of these clips.
 */
function makeClipList(sides, places) {
  const { clips, metric } = sides[0];
  const settings = sides.map((side) => side.setting);
  const withSnr = places.some((i) => clips.snr[i] !== null);
  const withBackground = places.some((i) => clips.names[clips.background[i]] !== "");
  const withAudio = Object.keys(clips.audio).length > 0;
  const heading = metric.includes("R@") ? "came first" : "predicted";
  const header = [
    "clip",
    "label",
    ...sides.map((side, number) => (sides.length > 1 ? `${"AB"[number]}: ${heading}` : heading)),
    ...(withAudio ? ["listen"] : []),
    ...(withSnr ? ["SNR (dB)"] : []),
    ...(withBackground ? ["background"] : []),
  ];
  const body = make("tbody");
  const more = make("button", { type: "button" }, "");
  let shown = 0;
  const show = (count) => {
    for (const i of places.slice(shown, shown + count)) {
      const name = clips.clips[i];
      body.append(
        make(
          "tr",
          {},
          make("th", { scope: "row", class: "clip" }, name),
          make("td", {}, clips.names[clips.label[i]]),
          sides.map((side) => makePredicted(side, i)),
          withAudio ? make("td", { class: "listen" }, listSignals(clips, i, settings).map(([signal, address]) => makePlayButton(address, signal, name))) : null,
          withSnr ? make("td", { class: "number" }, clips.snr[i] === null ? "" : clips.snr[i].toFixed(1)) : null,
          withBackground ? make("td", { class: "file" }, clips.names[clips.background[i]]) : null,
        ),
      );
    }
    shown = Math.min(places.length, shown + count);
    more.hidden = shown >= places.length;
    more.textContent = `Show ${Math.min(MORE_CLIPS, places.length - shown)} more of ${formatCount(places.length - shown)}`;
  };
  more.addEventListener("click", () => show(MORE_CLIPS));
  show(FIRST_CLIPS);
  const table = make("table", { class: "clips" }, make("thead", {}, make("tr", {}, header.map((text) => make("th", { scope: "col" }, text)))), body);
  return [withAudio ? null : makeAudioNotice(sides[0].run), make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Clips" }, table), more];
}

/** How to get a page whose clips can be heard. */
function makeAudioNotice(number) {
  const run = readData("runs")[number];
  const folder = run.task === "bgknown" ? `the dataset ${run.dataset.slice(0, 8)}` : `the corpus of ${run.task}`;
  const option = run.task === "bgknown" ? "--dataset DIR" : `--dataset ${run.task}=DIR`;
  return make(
    "p",
    { class: "notice" },
    `To hear these clips, make this page on a machine with ${folder}: `,
    make("code", {}, `benchmark leaderboard --out results --html page.html ${option}`),
    run.task === "bgknown" ? ". For clean clips, add " : ".",
    run.task === "bgknown" ? make("code", {}, "--dataset esc50=ESC-50") : null,
  );
}

/** The order of clips in lists: by label, then by id. */
function sortPlaces(clips, places) {
  const name = (i) => clips.names[clips.label[i]];
  return [...places].sort((a, b) => name(a).localeCompare(name(b)) || clips.clips[a].localeCompare(clips.clips[b]));
}

/** Open the clips behind a figure: those that were wrong, or of a gain those on which its two settings differ. */
function openFigure(table, line, place) {
  const cell = line.cells[place];
  const settings = splitGain(table.columns[place].setting);
  if (settings.length > 1) {
    const [a, b] = settings.map((setting) => ({ run: cell[5], setting }));
    openPairs(a, b);
    return;
  }
  const side = makeSide(cell[5], line.name, settings[0], table.metric);
  showClips(side, side.right.map((_, i) => i), `${line.name}, ${table.columns[place].name}: ${table.metric} ${cell[0]}`);
}

/** Show those of some clips of a side that were wrong, with a choice of label, and of the right ones. */
function showClips(side, among, title) {
  const wrong = among.filter((i) => side.right[i] !== null && side.right[i] < 1);
  const right = among.filter((i) => side.right[i] === 1);
  const labels = [...new Set(among.map((i) => side.clips.names[side.clips.label[i]]))].sort();
  const state = { part: wrong, label: "" };
  const list = make("div");
  const summary = make("p", { role: "status" });
  const draw = () => {
    const chosen = state.part.filter((i) => !state.label || side.clips.names[side.clips.label[i]] === state.label);
    const word = state.part === wrong ? "wrong" : "right";
    const seeds = side.series.length > 1 ? (word === "wrong" ? " in at least one seed" : " in all seeds") : "";
    summary.textContent = `${formatCount(chosen.length)} of ${formatCount(wrong.length + right.length)} clips: ${word}${seeds}${state.label ? `, ${state.label}` : ""}`;
    list.replaceChildren(...makeClipList([side], sortPlaces(side.clips, chosen)).filter((one) => one !== null));
  };
  const controls = make(
    "div",
    { class: "controls" },
    makeSelect("clips-part", "Show", [["wrong", "clips that were wrong"], ["right", "clips that were right"]], "wrong", (value) => {
      state.part = value === "wrong" ? wrong : right;
      draw();
    }),
    makeSelect("clips-label", "Label", [["", "all"], ...labels.map((label) => [label, label])], "", (value) => {
      state.label = value;
      draw();
    }),
  );
  const heading = make("h2", { tabindex: -1 }, title);
  const section = document.getElementById("clips");
  section.replaceChildren(heading, controls, summary, list);
  section.hidden = false;
  draw();
  heading.focus();
  heading.scrollIntoView({ block: "start" });
}
