// Rows of a table, page by page.
import { html, useState } from "../vendor/preact.js";
import { apiPath, useApi } from "../core/api.js";
import { t } from "../core/i18n.js";
import { Loaded } from "./basics.js";

/** Buttons for the pages of a long list; the server has counted it (`total`), or knows only whether there is `more`. */
export function Pager({ offset, size, total, more = offset + size < total, onOffset }) {
  if (offset === 0 && !more) return null;
  return html`
    <nav class="pager" aria-label=${t("grid.pages")}>
      <button type="button" class="quiet" disabled=${offset === 0} onClick=${() => onOffset(Math.max(0, offset - size))}>
        ${t("grid.before")}
      </button>
      ${total !== undefined &&
      html`<span aria-live="polite">
        ${t("grid.range", { from: offset + 1, to: Math.min(offset + size, total), total })}
      </span>`}
      <button type="button" class="quiet" disabled=${!more} onClick=${() => onOffset(offset + size)}>
        ${t("grid.after")}
      </button>
    </nav>
  `;
}

/** A wide table that scrolls in a frame of its own, also by keyboard. */
export function Scroll({ label, children }) {
  return html`<div class="scroll" role="region" aria-label=${label} tabindex="0">${children}</div>`;
}

function Row({ row, columns, marked }) {
  const [isOpen, setOpen] = useState(false);
  return html`
    <tr class=${isOpen ? "open" : ""}>
      <th scope="row">
        <button
          type="button"
          class="row-number"
          aria-expanded=${isOpen}
          aria-label=${t(isOpen ? "grid.close" : "grid.open", { row: row.row + 1 })}
          onClick=${() => setOpen(!isOpen)}
        >
          ${row.row + 1}
        </button>
      </th>
      ${columns.map(
        (name) => html`<td key=${name} class=${marked.includes(name) ? "marked" : ""}>
          <div class="cell">${row.cells[name] ?? ""}</div>
        </td>`,
      )}
    </tr>
  `;
}

/**
 * The rows of a table of the work folder.
 *
 * @param {Object} table As the server describes it.
 */
export function TableRows({ table, size = 20 }) {
  const [offset, setOffset] = useState(0);
  const rows = useApi(`${apiPath("tables", table.id, "rows")}?offset=${offset}&limit=${size}`);
  const columns = table.columns.map((column) => column.name);
  return html`
    <${Loaded} from=${rows}>
      ${(page) => html`
        <${Scroll} label=${t("grid.rows", { name: table.name })}>
          <table class="grid">
            <thead>
              <tr>
                <th scope="col"><span class="hidden">${t("grid.number")}</span></th>
                ${columns.map((name) => html`<th key=${name} scope="col">${name}</th>`)}
              </tr>
            </thead>
            <tbody>
              ${page.rows.map(
                (row) => html`<${Row} key=${row.row} row=${row} columns=${columns} marked=${row.corrected ?? []} />`,
              )}
            </tbody>
          </table>
        <//>
        <${Pager} offset=${offset} size=${size} total=${page.total} onOffset=${setOffset} />
      `}
    <//>
  `;
}
