// Lists of tables, runs and jobs, in the order of the server: the newest first.
import { html } from "../vendor/preact.js";
import { moment } from "../core/format.js";
import { t } from "../core/i18n.js";
import { link } from "../core/router.js";
import { Chip, Progress } from "./basics.js";

const TONES = { running: "accent", done: "good", failed: "error", stopped: "warning", interrupted: "warning" };

/** Returns the tone of a job's state for its chip. */
export const toneOf = (state) => TONES[state] ?? "plain";

/** Returns what a job is called: its kind and its name. */
export const titleOf = (job) => t("job.title", { kind: t(`job.kind.${job.kind}`), name: job.name });

/** The tables of the work folder. */
export function TableList({ tables }) {
  return html`
    <ul class="list">
      ${tables.map(
        (table) => html`<li key=${table.id}>
          <div class="list-main">
            <a href=${link(["tables", table.id])}>${table.name}</a>
            <p class="hint">
              ${t("table.size", { rows: table.rows, columns: table.columns.length })} · ${moment(table.created)}
            </p>
          </div>
        </li>`,
      )}
    </ul>
  `;
}

/** The finished and unfinished runs. */
export function RunList({ runs }) {
  return html`
    <ul class="list">
      ${runs.map(
        (run) => html`<li key=${run.name}>
          <div class="list-main">
            <a href=${link(["runs", run.name])}>${run.name}</a>
            <p class="hint">
              ${[run.columns.map((column) => column.name).join(", "), run.base, moment(run.created)]
                .filter(Boolean)
                .join(" · ")}
            </p>
          </div>
          ${!run.complete && html`<${Chip} tone="warning">${t("run.incomplete")}<//>`}
        </li>`,
      )}
    </ul>
  `;
}

/** What the server runs, or has run. */
export function JobList({ jobs }) {
  return html`
    <ul class="list">
      ${jobs.map(
        (job) => html`<li key=${job.id}>
          <div class="list-main">
            <a href=${link(["jobs", job.id])}>${titleOf(job)}</a>
            <p class="hint">${moment(job.created)}</p>
            ${job.state === "running" && html`<${Progress} label=${t("job.running")} />`}
          </div>
          <${Chip} tone=${toneOf(job.state)}>${t(`job.state.${job.state}`)}<//>
        </li>`,
      )}
    </ul>
  `;
}
