// All screenings, and the form for a new one.
import { html, useState } from "../vendor/preact.js";
import { apiPath, post, useApi } from "../core/api.js";
import { moment } from "../core/format.js";
import { t } from "../core/i18n.js";
import { go, link } from "../core/router.js";
import { Empty, ErrorNotice, Field, Loaded, Notice, Page, Section, WorkButton } from "../parts/basics.js";
import { ColumnChoice, TableChoice } from "../parts/choices.js";
import { Upload } from "../parts/upload.js";
import { readLines } from "../parts/settings.js";

function Screens({ screens }) {
  return html`<ul class="list">
    ${screens.map((screen) =>
      screen.error
        ? html`<li key=${screen.id}><${Notice} level="error">${screen.error}<//></li>`
        : html`<li key=${screen.id}>
            <div class="list-main">
              <a href=${link(["screens", screen.id])}>${screen.name}</a>
              <p class="hint">
                ${t("screen.state", { read: screen.read, records: screen.records, included: screen.included })}
                ${screen.created && ` · ${moment(screen.created)}`}
              </p>
            </div>
            <a class="button" href=${link(["screens", screen.id])}>${t("screen.go-on")}</a>
          </li>`,
    )}
  </ul>`;
}

function NewScreen({ first }) {
  const [form, setForm] = useState({ table: first, name: "", criteria: "", exclude: "", readers: "", title: null, abstract: null, id: null, doi: null });
  const [error, setError] = useState(null);
  const table = useApi(form.table === null ? null : apiPath("tables", form.table)).data;
  const set = (name, value) => setForm((before) => ({ ...before, [name]: value }));
  const create = async () => {
    const { criteria, exclude, readers, ...rest } = form;
    const chosen = Object.fromEntries(Object.entries(rest).filter(([, value]) => value !== null && value !== ""));
    const names = readLines(readers);
    const body = { ...chosen, criteria: readLines(criteria), exclude: readLines(exclude), ...(names.length ? { readers: names } : {}) };
    const screen = await post("/api/screens", body);
    go(["screens", screen.id]);
  };
  const area = (name, rows = 3) => (attributes) =>
    html`<textarea ...${attributes} rows=${rows} value=${form[name]} onInput=${(event) => set(name, event.currentTarget.value)}></textarea>`;
  const column = (name) =>
    html`<${ColumnChoice}
      label=${t(`screen.column.${name}`)}
      table=${table}
      value=${form[name]}
      none=${t("screen.column.auto")}
      onChange=${(value) => set(name, value)}
    />`;
  return html`<${Section} title=${t("screen.new")} hint=${t("screen.new.hint")}>
    <${Upload} onTable=${(made) => set("table", made.id)} />
    <div class="fields">
      <${TableChoice} label=${t("screen.table")} value=${form.table} onChange=${(id) => set("table", id)} />
      <${Field} label=${t("screen.name")} hint=${t("screen.name.hint")}>
        ${(attributes) => html`<input ...${attributes} maxlength="200" value=${form.name} onInput=${(event) => set("name", event.currentTarget.value)} />`}
      <//>
      <${Field} label=${t("screen.criteria.include")} hint=${t("screen.lines")}>${area("criteria")}<//>
      <${Field} label=${t("screen.criteria.exclude")} hint=${t("screen.lines")}>${area("exclude")}<//>
    </div>
    <details>
      <summary>${t("screen.new.more")}</summary>
      <div class="fields">
        <${Field} label=${t("screen.readers")} hint=${t("screen.readers.hint")}>${area("readers")}<//>
        ${["title", "abstract", "id", "doi"].map(column)}
      </div>
    </details>
    <${ErrorNotice} error=${error} />
    <div class="actions">
      <${WorkButton} className="main" disabled=${form.table === null} onClick=${create} onError=${setError}>${t("screen.create")}<//>
    </div>
  <//>`;
}

/** The page. */
export function ScreensPage({ query }) {
  const found = useApi("/api/screens");
  return html`<${Page} title=${t("nav.screening")} lead=${t("screen.lead")}>
    <${Loaded} from=${found}>
      ${(data) =>
        data.screens.length > 0
          ? html`<${Section} title=${t("screen.there")}><${Screens} screens=${data.screens} /><//>`
          : html`<${Empty} title=${t("screen.none")} />`}
    <//>
    <${NewScreen} first=${query.table ?? null} />
  <//>`;
}
