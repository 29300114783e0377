// Document templates of a recipe, as `papertune.templates` reads them: text with column names in braces.
const PIECE = /\{\{|\}\}|\{\s*("(?:[^"\\]|\\.)*")\s*\}|\{([^{}]*)\}/gs;
const PIECE_OR_END = new RegExp(`${PIECE.source}|\\n`, "gs");

function nameOf(quoted, plain) {
  if (quoted === undefined) return plain?.trim();
  try {
    return JSON.parse(quoted);
  } catch {
    return undefined;
  }
}

/** Returns the columns that a template names, each once. */
export function columnsOf(template) {
  const names = [...template.matchAll(PIECE)].map(([, quoted, plain]) => nameOf(quoted, plain));
  return [...new Set(names.filter(Boolean))];
}

/** Returns what a template has in place of a column's cells. */
export function placeholder(name) {
  const needsQuotes = name !== name.trim() || /[{}]|^"/.test(name);
  return `{${needsQuotes ? JSON.stringify(name) : name}}`;
}

/** Returns a template with one more line, for a column. */
export function withColumn(template, name) {
  const title = name.replace(/[{}]/g, "$&$&").replace(/\s+/g, " ");
  const line = `${title}: ${placeholder(name)}`;
  return template.trim() === "" ? line : `${template}\n${line}`;
}

/** Returns the lines of a template; a line break in the name of a column ends none. */
function linesOf(template) {
  const ends = [...template.matchAll(PIECE_OR_END)].filter(([piece]) => piece === "\n").map((end) => end.index);
  const starts = [0, ...ends.map((end) => end + 1)];
  return starts.map((start, place) => template.slice(start, ends[place]));
}

/** Returns a template without a column: its line goes, or only its place if the line has other columns as well. */
export function withoutColumn(template, name) {
  const lines = linesOf(template).flatMap((line) => {
    const names = columnsOf(line);
    if (!names.includes(name)) return [line];
    if (names.length === 1) return [];
    return [line.replace(PIECE, (whole, quoted, plain) => (nameOf(quoted, plain) === name ? "" : whole))];
  });
  return lines.join("\n");
}
