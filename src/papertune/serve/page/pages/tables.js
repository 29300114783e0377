// All tables of the work folder, and the place for a new one.
import { html } from "../vendor/preact.js";
import { useApi } from "../core/api.js";
import { t } from "../core/i18n.js";
import { go } from "../core/router.js";
import { Empty, Loaded, Page, Section } from "../parts/basics.js";
import { TableList } from "../parts/lists.js";
import { Upload } from "../parts/upload.js";

/** The list of tables. */
export function TablesPage({ query }) {
  const tables = useApi("/api/tables");
  const isTraining = query.for === "train";
  return html`
    <${Page} title=${t("tables.title")} lead=${t(isTraining ? "tables.lead.train" : "tables.lead")}>
      <${Upload} onTable=${(table) => go(["tables", table.id])} />
      <${Section} title=${t("tables.there")}>
        <${Loaded} from=${tables}>
          ${(data) =>
            data.tables.length > 0
              ? html`<${TableList} tables=${data.tables} />`
              : html`<${Empty} title=${t("tables.none")} />`}
        <//>
      <//>
    <//>
  `;
}
