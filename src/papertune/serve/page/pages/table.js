// One table: what stands in it, and what can be done with it.
import { html, useState } from "../vendor/preact.js";
import { apiPath, useApi } from "../core/api.js";
import { number, percent, shorten } from "../core/format.js";
import { t } from "../core/i18n.js";
import { link } from "../core/router.js";
import { ErrorNotice, Loaded, Notice, Page, Section } from "../parts/basics.js";
import { Delete } from "../parts/delete.js";
import { Download } from "../parts/download.js";
import { Scroll, TableRows } from "../parts/grid.js";

/** The columns of a table: how many cells are filled, and with what. */
function Columns({ table }) {
  return html`
    <${Scroll} label=${t("table.columns")}>
      <table>
        <thead>
          <tr>
            <th scope="col">${t("table.column")}</th>
            <th scope="col" class="number">${t("table.filled")}</th>
            <th scope="col">${t("table.examples")}</th>
          </tr>
        </thead>
        <tbody>
          ${table.columns.map(
            (column) => html`<tr key=${column.name}>
              <th scope="row">${column.name}</th>
              <td class="number">
                ${number(column.filled)}
                <span class="hint"> ${table.rows > 0 && percent(column.filled / table.rows)}</span>
              </td>
              <td class="examples">
                ${(column.examples ?? []).slice(0, 3).map((text) => html`<span key=${text}>${shorten(text, 70)}</span>`)}
              </td>
            </tr>`,
          )}
        </tbody>
      </table>
    <//>
  `;
}

/** What the reader of the file had to report. */
function Warnings({ texts }) {
  return texts.map((text) => html`<${Notice} key=${text} level="warning">${text}<//>`);
}

/** The ways on from a table. */
function Ways({ table }) {
  const ways = [
    ["train", link(["tables", table.id, "recipe"])],
    ["fill", link(["fill"], { table: table.id })],
    ["screen", link(["screens"], { table: table.id })],
    ["correct", link(["tables", table.id, "correct"])],
  ];
  return html`
    <ul class="cards ways small">
      ${ways.map(
        ([name, target]) => html`<li key=${name}>
          <a class="card way" href=${target}>
            <span class="way-title">${t(`table.way.${name}`)}</span>
            <span class="hint">${t(`table.way.${name}.text`)}</span>
          </a>
        </li>`,
      )}
    </ul>
  `;
}

/** The page of a table. */
export function TablePage({ id }) {
  const table = useApi(apiPath("tables", id));
  const [error, setError] = useState(null);
  const crumbs = [[t("nav.tables"), link(["tables"])]];
  if (table.data === null) {
    return html`<${Page} title=${t("table.title")} crumbs=${crumbs}><${Loaded} from=${table}>${() => null}<//><//>`;
  }
  const { name, rows, columns, warnings } = table.data;
  const actions = html`<${Delete} path=${apiPath("tables", id)} name=${name} after=${["tables"]} onError=${setError}>
    ${t("table.delete.text")}
  <//>`;
  return html`
    <${Page}
      title=${name}
      crumbs=${crumbs}
      lead=${t("table.size", { rows, columns: columns.length })}
      actions=${actions}
    >
      <${ErrorNotice} error=${error} />
      ${(warnings ?? []).length > 0 && html`<div class="stack"><${Warnings} texts=${warnings} /></div>`}
      <${Ways} table=${table.data} />
      <${Section} title=${t("table.columns")}><${Columns} table=${table.data} /><//>
      <${Section}
        title=${t("table.rows")}
        hint=${t("table.rows.hint")}
        actions=${html`<${Download} table=${table.data} />`}
      >
        <${TableRows} table=${table.data} />
      <//>
    <//>
  `;
}
