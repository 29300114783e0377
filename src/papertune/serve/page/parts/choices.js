// Choices among what is in the work folder.
import { html } from "../vendor/preact.js";
import { useApi } from "../core/api.js";
import { t } from "../core/i18n.js";
import { Field } from "./basics.js";

/** A choice among the tables of the work folder. */
export function TableChoice({ label, hint, value, onChange, none = null }) {
  const tables = useApi("/api/tables");
  return html`
    <${Field} label=${label} hint=${hint}>
      ${(attributes) => html`
        <select ...${attributes} value=${value ?? ""} onChange=${(event) => onChange(event.currentTarget.value || null)}>
          <option value="">${none ?? t("choose.table")}</option>
          ${(tables.data?.tables ?? []).map((table) => html`<option key=${table.id} value=${table.id}>${table.name}</option>`)}
        </select>
      `}
    <//>
  `;
}

/** A choice among the finished runs, each with its columns. */
export function RunChoice({ value, onChange }) {
  const runs = useApi("/api/runs");
  const complete = (runs.data?.runs ?? []).filter((run) => run.complete);
  return html`
    <${Field} label=${t("fill.run")} hint=${runs.data && complete.length === 0 ? t("fill.run.none") : t("fill.run.hint")}>
      ${(attributes) => html`
        <select ...${attributes} value=${value ?? ""} onChange=${(event) => onChange(event.currentTarget.value || null)}>
          <option value="">${t("choose.run")}</option>
          ${complete.map(
            (run) => html`<option key=${run.name} value=${run.name}>
              ${run.name} (${run.columns.map((column) => column.name).join(", ")})
            </option>`,
          )}
        </select>
      `}
    <//>
  `;
}
