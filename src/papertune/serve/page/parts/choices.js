// Choices among what is in the work folder.
import { html, useEffect } from "../vendor/preact.js";
import { useApi } from "../core/api.js";
import { t } from "../core/i18n.js";
import { link } from "../core/router.js";
import { Field } from "./basics.js";

/** A field with a list to choose from: pairs of value and text. `none` says what it means to choose nothing. */
function Choice({ label, hint, value, onChange, none, options }) {
  return html`
    <${Field} label=${label} hint=${hint}>
      ${(attributes) => html`
        <select ...${attributes} value=${value ?? ""} onChange=${(event) => onChange(event.currentTarget.value || null)}>
          <option value="">${none}</option>
          ${options.map(([each, text]) => html`<option key=${each} value=${each}>${text}</option>`)}
        </select>
      `}
    <//>
  `;
}

/** A choice among the tables of the work folder; null is none. */
export function TableChoice({ label, hint, value, onChange, none = null }) {
  const { data, reload } = useApi("/api/tables");
  const tables = data?.tables ?? [];
  useEffect(() => {
    // A table that was uploaded beside the list.
    if (data !== null && value && !tables.some((table) => table.id === value)) reload();
  }, [value]);
  const options = tables.map((table) => [table.id, t("choose.table.of", { name: table.name, rows: table.rows })]);
  return html`<${Choice} ...${{ label, hint, value, onChange, options }} none=${none ?? t("choose.table")} />`;
}

/** A choice among the columns of a table; null is none. */
export function ColumnChoice({ label, table, value, onChange, none = "–" }) {
  const options = (table?.columns ?? []).map(({ name }) => [name, name]);
  return html`<${Choice} ...${{ label, value, onChange, none, options }} />`;
}

// Stages whose runs are a start for others, or judge answers (docs/stages.md).
const WITHOUT_COLUMNS = ["pt", "rm"];

/** Whether a run fills in tables. */
export const fillsIn = (run) => run.complete && !WITHOUT_COLUMNS.includes(run.stage);

/** A choice among the runs that fill in tables, each with its columns; null is none. */
export function RunChoice({ value, onChange }) {
  const { data } = useApi("/api/runs");
  const complete = (data?.runs ?? []).filter(fillsIn);
  const options = complete.map((run) => [run.name, `${run.name} (${run.columns.map((column) => column.name).join(", ")})`]);
  const isNone = data !== null && complete.length === 0;
  const train = html`${t("fill.run.none")} <a href=${link(["tables"], { for: "train" })}>${t("home.train")}</a>`;
  return html`<${Choice}
    label=${t("fill.run")}
    hint=${isNone ? train : t("fill.run.hint")}
    none=${t("choose.run")}
    ...${{ value, onChange, options }}
  />`;
}
