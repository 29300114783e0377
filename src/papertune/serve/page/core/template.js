// Document templates of a recipe, as `papertune.templates` reads them: text with column names in braces.
const PIECE = /\{\{|\}\}|\{\s*("(?:[^"\\]|\\.)*")\s*\}|\{([^{}]*)\}/gs;

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
  const line = `${name.replace(/[{}]/g, "$&$&")}: ${placeholder(name)}`;
  return template.trim() === "" ? line : `${template}\n${line}`;
}

/** Returns a template without a column: its line goes, or only its place if the line has other columns as well. */
export function withoutColumn(template, name) {
  const lines = template.split("\n").flatMap((line) => {
    const names = columnsOf(line);
    if (!names.includes(name)) return [line];
    if (names.length === 1) return [];
    return [line.replace(PIECE, (whole, quoted, plain) => (nameOf(quoted, plain) === name ? "" : whole))];
  });
  return lines.join("\n");
}
