// The first page: what one can do here, what goes on, and what was there last.
import { html } from "../vendor/preact.js";
import { useApi } from "../core/api.js";
import { t } from "../core/i18n.js";
import { go, link } from "../core/router.js";
import { Page, Section } from "../parts/basics.js";
import { JobList, RunList, TableList } from "../parts/lists.js";
import { Upload } from "../parts/upload.js";

const RECENT = 4;

function Way({ number, title, children, target, action }) {
  return html`
    <li class="card way">
      <span class="way-number" aria-hidden="true">${number}</span>
      <h2>${title}</h2>
      <p>${children}</p>
      <a class="button" href=${target}>${action}</a>
    </li>
  `;
}

/** The first page. */
export function HomePage({ session }) {
  const tables = useApi("/api/tables").data?.tables ?? [];
  const runs = useApi("/api/runs").data?.runs ?? [];
  const jobs = useApi("/api/jobs", 3000).data?.jobs ?? [];
  const running = jobs.filter((job) => job.state === "running");
  return html`
    <${Page} title=${t("home.title")} lead=${t("home.lead")}>
      ${running.length > 0 && html`<${Section} title=${t("home.running")}><${JobList} jobs=${running} /><//>`}
      ${session?.run &&
      html`<div class="card">
        <h2>${t("home.run", { name: session.run })}</h2>
        <div class="actions">
          <a class="button main" href=${link(["fill"], { run: session.run })}>${t("run.fill")}</a>
          <a class="button" href=${link(["runs", session.run, "chat"])}>${t("run.chat")}</a>
          <a class="button" href=${link(["runs", session.run])}>${t("run.about")}</a>
        </div>
      </div>`}
      <ol class="cards ways">
        <${Way} number="1" title=${t("home.train")} target=${link(["tables"], { for: "train" })} action=${t("home.train.do")}>
          ${t("home.train.text")}
        <//>
        <${Way} number="2" title=${t("home.fill")} target=${link(["fill"])} action=${t("home.fill.do")}>
          ${t("home.fill.text")}
        <//>
        <${Way} number="3" title=${t("home.screen")} target=${link(["screens"])} action=${t("home.screen.do")}>
          ${t("home.screen.text")}
        <//>
      </ol>
      <${Section} title=${t("home.bring")}>
        <${Upload} onTable=${(table) => go(["tables", table.id])} />
      <//>
      ${tables.length + runs.length > 0 &&
      html`<div class="cards recent">
        ${tables.length > 0 &&
        html`<${Section} title=${t("nav.tables")}><${TableList} tables=${tables.slice(0, RECENT)} /><//>`}
        ${runs.length > 0 && html`<${Section} title=${t("nav.runs")}><${RunList} runs=${runs.slice(0, RECENT)} /><//>`}
      </div>`}
    <//>
  `;
}
