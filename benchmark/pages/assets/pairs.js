"use strict";
/* Two encoders, or two settings: the clips that one gets and the other misses. */

/** Fill the part of the page that compares two sides. */
function drawPairs(box, table, a, b) {
  const runs = listTabRuns(table).filter(({ run }) => listRunSettings(run, table.metric).length > 0);
  if (runs.length === 0) {
    box.replaceChildren(make("p", {}, "There are no predictions of these figures; run the benchmark again to have them."));
    return;
  }
  const order = table.columns[table.order].setting;
  const complete = (side, fallback) => {
    const run = side?.run ?? fallback;
    const settings = listRunSettings(run, table.metric);
    const wanted = side?.setting ?? order;
    return { run, setting: settings.includes(wanted) ? wanted : settings[0] };
  };
  const described = readData("runs");
  const isAlike = (one, other) => one !== other && described[one].clips === described[other].clips;
  const first = (runs.find(({ run }) => runs.some((other) => isAlike(other.run, run))) ?? runs[0]).run;
  const state = { a: complete(a, first) };
  state.b = complete(b, (runs.find(({ run }) => isAlike(run, state.a.run)) ?? { run: state.a.run }).run);
  const severalTasks = new Set(runs.map(({ run }) => described[run].task)).size > 1;
  const nameOf = (run) => runs.find((one) => one.run === run).name;
  const nameRun = (run) => (severalTasks ? `${nameOf(run)}, ${described[run].task}` : nameOf(run));
  const selects = ["a", "b"].flatMap((mark) => [
    makeSelect(`pair-${mark}`, `Encoder ${mark.toUpperCase()}`, runs.map(({ run }) => [run, nameRun(run)]), state[mark].run, (value) =>
      drawPairs(box, table, ...Object.values({ ...state, [mark]: { ...state[mark], run: Number(value) } })),
    ),
    makeSelect(`setting-${mark}`, `Setting of ${mark.toUpperCase()}`, listRunSettings(state[mark].run, table.metric).map((name) => [name, name]), state[mark].setting, (value) =>
      drawPairs(box, table, ...Object.values({ ...state, [mark]: { ...state[mark], setting: value } })),
    ),
  ]);
  const focused = document.activeElement?.id;
  const sides = ["a", "b"].map((mark) => makeSide(state[mark].run, nameOf(state[mark].run), state[mark].setting, table.metric));
  if (sides[0].clips !== sides[1].clips) {
    box.replaceChildren(make("div", { class: "controls" }, selects), make("p", {}, "These two were measured on different tasks."));
    return;
  }
  const parts = divideClips(...sides);
  const several = sides.some((side) => side.series.length > 1);
  const texts = several
    ? { a: "A better", b: "B better", right: "equal, mostly right", wrong: "equal, mostly wrong" }
    : { a: "only A right", b: "only B right", right: "both right", wrong: "both wrong" };
  const list = make("div", { class: "pair-clips" });
  const total = Object.values(parts).reduce((sum, part) => sum + part.length, 0);
  const buttons = Object.entries(texts).map(([part, text]) => {
    const button = make("button", { type: "button", id: `part-${part}`, "aria-pressed": "false" }, `${text}: ${formatCount(parts[part].length)}`);
    button.addEventListener("click", () => {
      for (const other of buttons) other.setAttribute("aria-pressed", String(other === button));
      list.replaceChildren(...makeClipList(sides, sortPlaces(sides[0].clips, parts[part])).filter((one) => one !== null));
      announce(`${parts[part].length} clips: ${text}`);
    });
    return button;
  });
  box.replaceChildren(
    make("div", { class: "controls" }, selects),
    make("p", {}, `${formatCount(total)} clips, ${table.metric}. A is ${describeSide(sides[0])}, B is ${describeSide(sides[1])}.`),
    describeDifference(table, sides),
    make("div", { class: "controls", role: "group", "aria-label": "Which clips" }, buttons),
    list,
  );
  buttons[0].click();
  if (focused?.startsWith("pair-") || focused?.startsWith("setting-")) document.getElementById(focused)?.focus();
}

function describeSide(side) {
  const known = side.right.filter((share) => share !== null);
  const mean = known.reduce((sum, share) => sum + share, 0) / known.length;
  return `${side.name} in ${side.setting} (${(100 * mean).toFixed(1)} %)`;
}

/** The paired difference of two encoders in one setting, as `benchmark compare` gives it. */
function describeDifference(table, [a, b]) {
  const pairs = readData(`pairs-${view.table}`) ?? [];
  const column = table.columns.find((one) => one.setting === a.setting)?.name;
  const found = pairs.find((pair) => a.setting === b.setting && pair[2] === column && [pair[0], pair[1]].every((run) => run === a.run || run === b.run));
  if (a.run === b.run || found === undefined) {
    return make("p", { class: "faint" }, "The paired test of these two: ", make("code", {}, `benchmark compare ${quote(a)} ${quote(b)} --out results`));
  }
  const sign = found[0] === a.run ? 1 : -1;
  const ends = [sign * found[4], sign * found[5]].sort((one, two) => one - two);
  const text = (value) => `${value > 0 ? "+" : ""}${value.toFixed(1)}`;
  const interval = found[4] === null ? "" : ` [${ends.map(text).join(", ")}]`;
  const p = found[6] < 1e-4 ? "p < 0.0001" : `p = ${found[6].toFixed(4)}`;
  return make(
    "p",
    { id: "difference" },
    make("strong", {}, `A − B: ${text(sign * found[3])}${interval}, ${p}`),
    " (paired sign-flip test by groups of clips; not corrected for the number of pairs, as tie groups are).",
  );
}

/** A side as an argument of a shell. */
function quote(side) {
  return `'${`${side.name}:${side.setting}`.replaceAll("'", "'\\''")}'`;
}

/** Open the comparison of two sides. */
function openPairs(a, b) {
  const details = document.getElementById("pairs");
  details.open = true;
  drawPairs(details.querySelector(".content"), currentTable(), a, b);
  details.querySelector("summary").focus();
  details.scrollIntoView({ block: "start" });
}
