// The first page: what one can do here, what goes on, and what was there last.
import { html } from "../vendor/preact.js";
import { useApi } from "../core/api.js";
import { t } from "../core/i18n.js";
import { go, link } from "../core/router.js";
import { Loading, Page, Section } from "../parts/basics.js";
import { JobList, RunList, TableList } from "../parts/lists.js";
import { Upload } from "../parts/upload.js";

const RECENT = 4;

function Way({ title, children, target, action }) {
  return html`
    <li class="card way">
      <h2>${title}</h2>
      <p>${children}</p>
      ${target && html`<a class="button" href=${target}>${action}</a>`}
    </li>
  `;
}

/** The newest of a list, and the way to all of it. */
function Recent({ title, all, target, children }) {
  const more = all.length > RECENT && html`<a href=${target}>${t("home.all", { n: all.length })}</a>`;
  return all.length > 0 && html`<${Section} title=${title} actions=${more}>${children(all.slice(0, RECENT))}<//>`;
}

/** The first page: in an empty work folder it begins with the table, without which nothing else can be done. */
export function HomePage({ session }) {
  const found = [useApi("/api/tables"), useApi("/api/runs"), useApi("/api/jobs", 3000)];
  const [tables, runs, jobs] = found.map((each, place) => each.data?.[["tables", "runs", "jobs"][place]] ?? []);
  const running = jobs.filter((job) => job.state === "running");
  if (found.some((each) => each.data === null && each.error === null)) {
    return html`<${Page} title=${t("home.title")} lead=${t("home.lead")}><${Loading} /><//>`;
  }
  const isEmpty = found.every((each) => each.data !== null) && tables.length + runs.length + jobs.length === 0;
  const bring = html`
    <${Section} key="bring" title=${t(isEmpty ? "home.begin" : "home.bring")} hint=${isEmpty && t("home.begin.hint")}>
      <${Upload} onTable=${(table) => go(["tables", table.id])} />
    <//>
  `;
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
      ${isEmpty && bring}
      <${Section} key="ways" title=${isEmpty && t("home.then")}>
        <ul class="cards ways">
          <${Way}
            title=${t("home.train")}
            target=${tables.length > 0 && link(["tables"], { for: "train" })}
            action=${t("home.train.do")}
          >
            ${t("home.train.text")}
          <//>
          <${Way} title=${t("home.fill")} target=${runs.length > 0 && link(["fill"])} action=${t("home.fill.do")}>
            ${t(runs.length > 0 ? "home.fill.text" : "home.fill.later")}
          <//>
          <${Way} title=${t("home.screen")} target=${link(["screens"])} action=${t("home.screen.do")}>
            ${t("home.screen.text")}
          <//>
        </ul>
      <//>
      ${!isEmpty && bring}
      ${tables.length + runs.length > 0 &&
      html`<div class="cards recent">
        <${Recent} title=${t("nav.tables")} all=${tables} target=${link(["tables"])}>
          ${(newest) => html`<${TableList} tables=${newest} />`}
        <//>
        <${Recent} title=${t("nav.runs")} all=${runs} target=${link(["runs"])}>
          ${(newest) => html`<${RunList} runs=${newest} />`}
        <//>
      </div>`}
    <//>
  `;
}
