// Correcting a table: each change goes to the server at once, and the corrected table can be downloaded.
import { html, useEffect, useState } from "../vendor/preact.js";
import { apiPath, newId, patch, post, useApi } from "../core/api.js";
import { t } from "../core/i18n.js";
import { useDraft } from "../core/kept.js";
import { useOutbox } from "../core/outbox.js";
import { go, link } from "../core/router.js";
import { Chip, ErrorNotice, Field, Loaded, Notice, Page, Section, Tick, WorkButton } from "../parts/basics.js";
import { Download } from "../parts/download.js";
import { Pager } from "../parts/grid.js";
import { isWriting } from "./pairs.js";

const SIZE = 10;

/** Returns the run that filled a table in, or null. */
function useRunOf(tableId) {
  const jobs = useApi("/api/jobs").data?.jobs ?? [];
  const job = jobs.find((each) => each.result_table === tableId);
  const run = useApi(job ? apiPath("runs", job.run) : null);
  return run.data;
}

/** One cell: a choice where the labels are known, else a text that is saved when the person leaves it. */
function Cell({ label, value, column, isCorrected, onChange }) {
  const [text, setText] = useState(value);
  useEffect(() => setText(value), [value]);
  const save = (next) => next !== value && onChange(next);
  const labels = column?.kind === "label" ? column.labels : null;
  const title = html`${label} ${isCorrected && html`<${Chip} tone="accent">${t("correct.corrected")}<//>`}`;
  return html`
    <${Field} label=${title}>
      ${(attributes) =>
        labels
          ? html`<select ...${attributes} value=${value} onChange=${(event) => save(event.currentTarget.value)}>
              ${[...new Set([value, ...labels])].map((each) => html`<option key=${each} value=${each}>${each || "–"}</option>`)}
            </select>`
          : html`<textarea
              ...${attributes}
              rows="1"
              value=${text}
              onInput=${(event) => setText(event.currentTarget.value)}
              onBlur=${(event) => save(event.currentTarget.value)}
            ></textarea>`}
    <//>
  `;
}

function Row({ row, table, editable, columns, changed, onChange }) {
  const names = table.columns.map((column) => column.name);
  const value = (name) => changed[`${row.row}.${name}`] ?? row.cells[name] ?? "";
  const [isOpen, setOpen] = useState(false);
  return html`
    <li class="card correct-row">
      <div class="read">
        <p class="hint">${t("correct.row", { row: row.row + 1 })}</p>
        <dl class=${isOpen ? "paper open" : "paper"}>
          ${names
            .filter((name) => !editable.includes(name))
            .map((name) => html`<div key=${name}><dt>${name}</dt><dd>${row.cells[name] ?? ""}</dd></div>`)}
        </dl>
        <button type="button" class="quiet" aria-expanded=${isOpen} onClick=${() => setOpen(!isOpen)}>
          ${t(isOpen ? "correct.less" : "correct.more")}
        </button>
      </div>
      <div class="write">
        ${editable.map(
          (name) => html`<${Cell}
            key=${name}
            label=${name}
            value=${value(name)}
            column=${columns.find((column) => column.name === name)}
            isCorrected=${(row.corrected ?? []).includes(name) || `${row.row}.${name}` in changed}
            onChange=${(next) => onChange(row.row, name, next)}
          />`,
        )}
      </div>
    </li>
  `;
}

/** Whether everything is on the server's disk. */
function Saved({ box }) {
  if (box.refused.length > 0) return html`<${Notice} level="error">${t("correct.refused", { n: box.refused.length })} ${box.error?.message}<//>`;
  if (box.error !== null && box.waiting.length > 0) {
    return html`<${Notice} level="warning">${t("correct.waiting", { n: box.waiting.length })} ${box.error.message}<//>`;
  }
  return html`<p class="hint" role="status">${t(box.waiting.length > 0 ? "correct.saving" : "correct.saved")}</p>`;
}

/** Makes preference pairs of the corrections, where the run writes texts that a training can prefer. */
function Prefer({ table, run }) {
  const [error, setError] = useState(null);
  const start = async () => {
    const job = await post("/api/jobs", { kind: "prefer", table: table.id, run: run.name, name: table.name, options: {} });
    go(["jobs", job.id]);
  };
  return html`
    <${Section} title=${t("prefer.title")} hint=${t("prefer.hint")}>
      <${ErrorNotice} error=${error} />
      <p><${WorkButton} onError=${setError} onClick=${start}>${t("prefer.do")}<//></p>
    <//>
  `;
}

function Rows({ table, first, editable, columns, box, changed, onChange }) {
  const [offset, setOffset] = useState(first);
  const rows = useApi(`${apiPath("tables", table.id, "rows")}?offset=${offset}&limit=${SIZE}`);
  return html`
    <div class="sticky"><${Saved} box=${box} /></div>
    <${Loaded} from=${rows}>
      ${(page) => html`
        <ol class="stack rows">
          ${page.rows.map((row) => html`<${Row} key=${row.row} ...${{ row, table, editable, columns, changed, onChange }} />`)}
        </ol>
        <${Pager} offset=${offset} size=${SIZE} total=${page.total} onOffset=${setOffset} />
      `}
    <//>
  `;
}

/** Returns the values of some changes by cell; the last one of a cell counts. */
const valuesOf = (changes) => Object.fromEntries(changes.map((change) => [`${change.row}.${change.column}`, change.value]));

/** Returns the columns with the one that the address names, in the table's order. */
const withColumn = (chosen, column, names) => names.filter((name) => chosen.includes(name) || name === column);

function Shown({ table, run, query }) {
  const columns = run?.columns ?? [];
  const names = table.columns.map((column) => column.name);
  const filled = columns.map((column) => column.name).filter((name) => names.includes(name));
  const [chosen, setChosen] = useDraft(`correct.${table.id}`, null);
  const first = Math.min(Number(query.row) || 0, Math.max(table.rows - 1, 0));
  const editable = withColumn(chosen ?? (filled.length > 0 ? filled : names.slice(-1)), query.column, names);
  const box = useOutbox(`corrections.${table.id}`, (changes) => patch(apiPath("tables", table.id, "cells"), changes));
  // What waits is shown after a refresh too; what was refused is not.
  const [kept, setKept] = useState(() => valuesOf(box.waiting));
  const refused = valuesOf(box.refused);
  const changed = Object.fromEntries(Object.entries(kept).filter(([cell, value]) => refused[cell] !== value));
  const change = (row, column, value) => {
    setKept((before) => ({ ...before, [`${row}.${column}`]: value }));
    box.add({ id: newId(), row, column, value });
  };
  const canPrefer = isWriting(run);
  return html`
    <details>
      <summary>${t("correct.columns", { n: editable.length })}</summary>
      <div class="ticks">
        ${names.map(
          (name) => html`<${Tick}
            key=${name}
            label=${name}
            checked=${editable.includes(name)}
            onChange=${(isOn) => setChosen(names.filter((each) => (each === name ? isOn : editable.includes(each))))}
          />`,
        )}
      </div>
    </details>
    <${Rows} ...${{ table, first, editable, columns, box, changed, onChange: change }} />
    ${canPrefer && html`<${Prefer} table=${table} run=${run} />`}
  `;
}

/** The page that corrects a table. */
export function CorrectPage({ id, query }) {
  const table = useApi(apiPath("tables", id));
  const run = useRunOf(id);
  const crumbs = [
    [t("nav.tables"), link(["tables"])],
    [table.data?.name ?? "…", link(["tables", id])],
  ];
  const actions = table.data && html`<${Download} table=${table.data} />`;
  return html`
    <${Page} title=${t("correct.title")} crumbs=${crumbs} lead=${t("correct.lead")} actions=${actions}>
      <${Loaded} from=${table}>${(data) => html`<${Shown} ...${{ table: data, run, query }} />`}<//>
    <//>
  `;
}
