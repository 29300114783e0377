// What the check of a recipe against a table found, beside the rows that it is about.
import { html, useState } from "../vendor/preact.js";
import { apiPath, useApi } from "../core/api.js";
import { shorten } from "../core/format.js";
import { t } from "../core/i18n.js";
import { link } from "../core/router.js";
import { Loading, Notice, Said } from "./basics.js";

const ORDER = { error: 0, warning: 1, note: 2 };
const MARKS = { error: "✕", warning: "!", note: "i" };
const SHOWN = 8;

/** The cells of the row that a finding is about. */
function RowCells({ table, finding }) {
  const rows = useApi(`${apiPath("tables", table.id, "rows")}?offset=${finding.row}&limit=1`);
  if (rows.data === null) return rows.error ? null : html`<${Loading} />`;
  const row = rows.data.rows[0];
  if (row === undefined) return null;
  const columns = table.columns.map((column) => column.name);
  return html`
    <dl class="row-cells">
      ${columns.map(
        (name) => html`<div key=${name} class=${name === finding.column ? "about" : ""}>
          <dt>${name}</dt>
          <dd>${row.cells[name] ? shorten(row.cells[name], 220) : html`<span class="hint">${t("check.empty")}</span>`}</dd>
        </div>`,
      )}
    </dl>
  `;
}

/** The page on which the cell can be corrected. */
const target = (table, { row, column }) => link(["tables", table.id, "correct"], { row, column });

function Finding({ finding, table }) {
  const hasRow = typeof finding.row === "number" && table !== null;
  return html`
    <li class=${finding.level}>
      <span class="mark" aria-hidden="true">${MARKS[finding.level]}</span>
      <div>
        <div><span class="hidden">${t(`check.${finding.level}`)}: </span><${Said} said=${finding} /></div>
        ${hasRow && html`<${RowCells} table=${table} finding=${finding} />`}
        ${hasRow && finding.column && html`<p class="correct-link"><a href=${target(table, finding)}>${t("check.correct")}</a></p>`}
      </div>
    </li>
  `;
}

/**
 * The findings of a check, the worst first.
 *
 * @param {{findings: Array, summary: Object}} checked As the server sends it.
 * @param {Object|null} table The table that was checked.
 */
export function Findings({ checked, table }) {
  const [isLong, setLong] = useState(false);
  const sorted = [...checked.findings].sort((one, other) => ORDER[one.level] - ORDER[other.level]);
  const isGood = !sorted.some((finding) => finding.level !== "note");
  const shown = isLong ? sorted : sorted.slice(0, SHOWN);
  return html`
    <div class="stack" role="status">
      ${isGood && html`<${Notice} level="good">${t("check.good")}<//>`}
      ${sorted.length > 0 &&
      html`<ul class="findings">
        ${shown.map((finding) => html`<${Finding} key=${finding.message} finding=${finding} table=${table} />`)}
      </ul>`}
      ${sorted.length > shown.length &&
      html`<p>
        <button type="button" class="quiet" onClick=${() => setLong(true)}>
          ${t("check.more", { n: sorted.length - shown.length })}
        </button>
      </p>`}
      <${Examples} examples=${checked.summary.examples ?? []} />
    </div>
  `;
}

/** Prompts as the model reads them. */
function Examples({ examples }) {
  if (examples.length === 0) return null;
  return html`<details>
    <summary>${t("check.examples")}</summary>
    <div class="stack">
      ${examples.map(
        (example) => html`<figure class="example" key=${`${example.row}.${example.column}`}>
          <figcaption class="hint">${t("check.example", { row: example.row + 1, column: example.column })}</figcaption>
          <pre class="toml" tabindex="0">${example.prompt}</pre>
          ${example.answer && html`<p><b>${t("check.answer")}:</b> ${example.answer}</p>`}
        </figure>`,
      )}
    </div>
  </details>`;
}
