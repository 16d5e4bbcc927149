"use strict";
/* The shown lines and columns of a table as CSV, Markdown and LaTeX: as `benchmark leaderboard --format` prints them. */

const BEST = 1;
const CUT = 2;

function escapeName(form, text) {
  const escapes = readData("board").escapes[form];
  return Object.hasOwn(escapes, text) ? escapes[text] : text;
}

function escapeBrackets(text) {
  return text.replace(/[[\]]/g, "\\$&");
}

function listPlaces(table, line) {
  if (!table.ranked) return [];
  return line.rank === null ? ["", ""] : [`${line.rank[0]} [${line.rank[1]}, ${line.rank[2]}]`, String(line.rank[3])];
}

function formatMarkdown(table, places, lines) {
  const first = ["encoder", ...(table.ranked ? ["rank", "tie"] : [])];
  const header = [...first, ...places.map((place) => escapeName("markdown", table.columns[place].name))];
  const rows = lines.map((line) => [
    escapeName("markdown", line.name),
    ...listPlaces(table, line).map(escapeBrackets),
    ...places.map((place) => {
      const cell = line.cells[place];
      if (cell === null) return "";
      const text = escapeBrackets(cell[0]) + (cell[4] & CUT ? "†" : "");
      return cell[4] & BEST ? `**${text}**` : text;
    }),
  ]);
  const rule = header.map((_, i) => (i === 0 ? "---" : "---:"));
  return [header, rule, ...rows].map((row) => `| ${row.join(" | ")} |`).join("\n");
}

function formatLatex(table, places, lines) {
  const first = ["encoder", ...(table.ranked ? ["rank", "tie"] : [])];
  const header = [...first, ...places.map((place) => escapeName("latex", table.columns[place].name))].join(" & ");
  const rows = lines.map((line) => {
    const cells = places.map((place) => {
      const cell = line.cells[place];
      if (cell === null) return "";
      const text = cell[0] + (cell[4] & CUT ? "$^\\dagger$" : "");
      return cell[4] & BEST ? `\\textbf{${text}}` : text;
    });
    return [escapeName("latex", line.name), ...listPlaces(table, line), ...cells].join(" & ");
  });
  return (
    `\\begin{table}\n\\centering\n\\caption{${escapeName("latex", table.title)}}\n` +
    `\\begin{tabular}{l${"r".repeat(first.length - 1 + places.length)}}\n\\toprule\n${header} \\\\\n\\midrule\n` +
    rows.map((row) => `${row} \\\\\n`).join("") +
    "\\bottomrule\n\\end{tabular}\n\\end{table}\n" +
    table.notes.map((note) => `% ${escapeName("plain", note)}\n`).join("")
  );
}

function formatCsv(table, places, lines) {
  const ends = ["mean", "low", "high"];
  const ranks = table.ranked ? ["rank", "rank_low", "rank_high", "tie"] : [];
  const header = ["encoder", ...ranks, ...places.flatMap((place) => ends.map((end) => `${table.columns[place].name} ${end}`))];
  const rows = lines.map((line) => [
    line.name,
    ...(table.ranked ? (line.rank ?? ["", "", "", ""]) : []),
    ...places.flatMap((place) => (line.cells[place] === null ? ["", "", ""] : line.cells[place].slice(1, 4))),
  ]);
  return [header, ...rows].map((row) => row.map(formatField).join(",")).join("\n") + "\n";
}

/** A field of CSV; a spreadsheet takes no text for a formula. */
function formatField(value) {
  if (typeof value !== "string") return value === null ? "" : String(value);
  const text = /^'*[=+\-@\t\r]/.test(value) ? `'${value}` : value;
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

const COPY_FORMS = { CSV: formatCsv, Markdown: formatMarkdown, LaTeX: formatLatex };
