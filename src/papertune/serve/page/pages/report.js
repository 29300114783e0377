// The report of an evaluation, in a frame that can do nothing.
import { html } from "../vendor/preact.js";
import { apiPath } from "../core/api.js";
import { t } from "../core/i18n.js";
import { link } from "../core/router.js";
import { Page } from "../parts/basics.js";

/** The report of a run, or of one evaluation of it (`?job=`). */
export function ReportPage({ name, query }) {
  const path = query.job ? apiPath("jobs", query.job, "report") : apiPath("runs", name, "report");
  const crumbs = [
    [t("nav.runs"), link(["runs"])],
    [name, link(["runs", name])],
  ];
  const actions = html`<a class="button" href=${path} target="_blank" rel="noopener">${t("report.alone")}</a>`;
  return html`
    <${Page} title=${t("report.title", { name })} crumbs=${crumbs} actions=${actions}>
      <iframe class="report" title=${t("report.title", { name })} src=${path} sandbox=""></iframe>
    <//>
  `;
}
