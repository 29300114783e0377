// Criteria, readers and target; new search results; decisions that were made before.
import { html, useState } from "../vendor/preact.js";
import { apiPath, patch, post, useApi } from "../core/api.js";
import { moment } from "../core/format.js";
import { t } from "../core/i18n.js";
import { ErrorNotice, Field, Notice, Section, WorkButton } from "../parts/basics.js";
import { ColumnChoice, TableChoice } from "../parts/choices.js";
import { readLines } from "../parts/settings.js";
import { Upload } from "../parts/upload.js";
import { ScreenPage } from "./frame.js";

function Basics({ screen, reload }) {
  const [form, setForm] = useState({
    name: screen.name,
    criteria: screen.criteria.join("\n"),
    exclude: screen.exclude.join("\n"),
    readers: screen.readers.join("\n"),
    both: screen.readers_per_record,
    target: Math.round(screen.target * 1000) / 10,
  });
  const [error, setError] = useState(null);
  const [isSaved, setSaved] = useState(false);
  const set = (name) => (event) => {
    setForm({ ...form, [name]: event.currentTarget.value });
    setSaved(false);
  };
  const save = async () => {
    await patch(apiPath("screens", screen.id), {
      name: form.name,
      criteria: readLines(form.criteria),
      exclude: readLines(form.exclude),
      readers: readLines(form.readers),
      readers_per_record: Number(form.both),
      target: Number(form.target) / 100,
    });
    setSaved(true);
    reload();
  };
  const area = (name) => (attributes) =>
    html`<textarea ...${attributes} rows="4" value=${form[name]} onInput=${set(name)}></textarea>`;
  const field = (name, more) => (attributes) =>
    html`<input ...${attributes} ...${more} value=${form[name]} onInput=${set(name)} />`;
  return html`<${Section} title=${t("screen.settings.basics")}>
    <div class="fields">
      <${Field} label=${t("screen.name")}>${field("name", { maxlength: 200 })}<//>
      <${Field} label=${t("screen.target")} hint=${t("screen.target.hint")}>
        ${field("target", { type: "number", min: 1, max: 100, step: 0.1 })}
      <//>
      <${Field} label=${t("screen.criteria.include")} hint=${t("screen.lines")}>${area("criteria")}<//>
      <${Field} label=${t("screen.criteria.exclude")} hint=${t("screen.lines")}>${area("exclude")}<//>
      <${Field} label=${t("screen.readers")} hint=${t("screen.readers.hint")}>${area("readers")}<//>
      <${Field} label=${t("screen.both")} hint=${t("screen.both.hint")}>${field("both", { type: "number", min: 1 })}<//>
    </div>
    <${ErrorNotice} error=${error} />
    ${isSaved && html`<${Notice} level="good">${t("screen.settings.saved")}<//>`}
    <div class="actions"><${WorkButton} className="main" onClick=${save} onError=${setError}>${t("screen.settings.save")}<//></div>
  <//>`;
}

function MoreResults({ screen, reload }) {
  const [table, setTable] = useState(null);
  const [error, setError] = useState(null);
  const [done, setDone] = useState(null);
  const add = async (id) => {
    setDone(await post(apiPath("screens", screen.id, "tables"), { table: id }));
    reload();
  };
  return html`<${Section} title=${t("screen.more")} hint=${t("screen.more.hint")}>
    <ul class="plain">
      ${screen.tables.map(
        (each, place) => html`<li key=${place}>${t("screen.more.was", { rows: each.rows, fresh: each.new })} · ${moment(each.at)}</li>`,
      )}
    </ul>
    <${Upload} onTable=${(made) => setTable(made.id)} />
    <${TableChoice} label=${t("screen.table")} value=${table} onChange=${setTable} />
    <${ErrorNotice} error=${error} />
    ${done && html`<${Notice} level="good">${t("screen.more.done", { fresh: done.new, duplicates: done.duplicates })}<//>`}
    <div class="actions">
      <${WorkButton} disabled=${table === null} onClick=${() => add(table)} onError=${setError}>${t("screen.more.add")}<//>
    </div>
  <//>`;
}

function Prior({ screen, reload }) {
  const [form, setForm] = useState({ table: null, label: null, include: "included\n1\nASReview_relevant", exclude: "excluded\n0\nASReview_irrelevant", reader: "" });
  const [error, setError] = useState(null);
  const [done, setDone] = useState(null);
  const table = useApi(form.table === null ? null : apiPath("tables", form.table)).data;
  const set = (name, value) => setForm({ ...form, [name]: value });
  const load = async () => {
    const { reader, include, exclude, ...rest } = form;
    const body = { ...rest, include: readLines(include), exclude: readLines(exclude), ...(reader ? { reader } : {}) };
    setDone(await post(apiPath("screens", screen.id, "prior"), body));
    reload();
  };
  const area = (name) => (attributes) =>
    html`<textarea ...${attributes} rows="3" value=${form[name]} onInput=${(event) => set(name, event.currentTarget.value)}></textarea>`;
  return html`<${Section} title=${t("screen.prior")} hint=${t("screen.prior.hint")}>
    <div class="fields">
      <${TableChoice}
        label=${t("screen.table")}
        value=${form.table}
        onChange=${(id) => setForm({ ...form, table: id, label: null })}
      />
      <${ColumnChoice} label=${t("screen.prior.label")} table=${table} value=${form.label} onChange=${(name) => set("label", name)} />
      <${Field} label=${t("screen.prior.include")} hint=${t("screen.lines")}>${area("include")}<//>
      <${Field} label=${t("screen.prior.exclude")} hint=${t("screen.lines")}>${area("exclude")}<//>
      <${Field} label=${t("screen.prior.by")} hint=${t("screen.prior.by.hint")}>
        ${(attributes) => html`<input ...${attributes} maxlength="60" value=${form.reader} onInput=${(event) => set("reader", event.currentTarget.value)} />`}
      <//>
    </div>
    <${ErrorNotice} error=${error} />
    ${done &&
    html`<${Notice} level="good">
      <p>${t("screen.prior.done", { included: done.included, excluded: done.excluded })}</p>
      ${done.unknown > 0 && html`<p>${t("screen.prior.unknown", { n: done.unknown, first: done.first_unknown })}</p>`}
      ${Object.entries(done.other).map(([cell, n]) => html`<p key=${cell}>${t("screen.prior.other", { cell, n })}</p>`)}
    <//>`}
    <div class="actions">
      <${WorkButton} disabled=${form.table === null || form.label === null} onClick=${load} onError=${setError}>${t("screen.prior.load")}<//>
    </div>
  <//>`;
}

/** The page. */
export function SettingsPage({ id }) {
  return html`<${ScreenPage} id=${id} current="settings">
    ${(screen, reload) => html`
      <${Basics} screen=${screen} reload=${reload} />
      <${MoreResults} screen=${screen} reload=${reload} />
      <${Prior} screen=${screen} reload=${reload} />
    `}
  <//>`;
}
