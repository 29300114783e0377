// Fields that several forms of screening have.
import { html } from "../vendor/preact.js";
import { useApi } from "../core/api.js";
import { t } from "../core/i18n.js";
import { Field } from "../parts/basics.js";

/** A choice among the tables of the work folder. */
export function TableChoice({ value, onChange }) {
  const tables = useApi("/api/tables").data?.tables ?? [];
  return html`<${Field} label=${t("screen.table")}>
    ${(attributes) => html`<select ...${attributes} value=${value} onChange=${(event) => onChange(event.currentTarget.value)}>
      <option value="">${t("screen.table.choose")}</option>
      ${tables.map(
        (table) => html`<option key=${table.id} value=${table.id} selected=${table.id === value}>
          ${table.name} · ${t("screen.rows", { n: table.rows })}
        </option>`,
      )}
    </select>`}
  <//>`;
}

/** A choice among the columns of a table, or none: `empty` says what that means. */
export function ColumnChoice({ label, table, value, onChange, empty = "–" }) {
  return html`<${Field} label=${label}>
    ${(attributes) => html`<select ...${attributes} value=${value} onChange=${(event) => onChange(event.currentTarget.value)}>
      <option value="">${empty}</option>
      ${(table?.columns ?? []).map(({ name }) => html`<option key=${name} value=${name} selected=${name === value}>${name}</option>`)}
    </select>`}
  <//>`;
}
