// The report of an evaluation, in a frame that can do nothing.
import { html, useEffect, useState } from "../vendor/preact.js";
import { apiPath, readError, unreachable } from "../core/api.js";
import { t } from "../core/i18n.js";
import { link } from "../core/router.js";
import { Empty, ErrorNotice, Loading, Page } from "../parts/basics.js";

/** Asks whether there is a report, since a frame cannot say that there is none. */
function useReport(path) {
  const [state, setState] = useState({ isThere: null, error: null });
  useEffect(() => {
    const stop = new AbortController();
    fetch(path, { signal: stop.signal }).then(
      async (answer) => {
        const error = answer.ok || answer.status === 404 ? null : readError(answer.status, await answer.text());
        setState({ isThere: answer.ok, error });
      },
      (error) => error.name !== "AbortError" && setState({ isThere: null, error: unreachable() }),
    );
    return () => stop.abort();
  }, [path]);
  return state;
}

/** The report of a run, or of one evaluation of it (`?job=`). */
export function ReportPage({ name, query }) {
  const path = query.job ? apiPath("jobs", query.job, "report") : apiPath("runs", name, "report");
  const { isThere, error } = useReport(path);
  const title = t("report.title", { name });
  const crumbs = [
    [t("nav.runs"), link(["runs"])],
    [name, link(["runs", name])],
  ];
  const actions = html`<a class="button" href=${path} target="_blank" rel="noopener">${t("report.alone")}</a>`;
  return html`
    <${Page} title=${title} crumbs=${crumbs} actions=${isThere && actions}>
      <${ErrorNotice} error=${error} />
      ${isThere === null && !error && html`<${Loading} />`}
      ${isThere === false &&
      !error &&
      html`<${Empty} title=${t("report.none")}>
        <a class="button" href=${link(["runs", name])}>${t("evaluate.title")}</a>
      <//>`}
      ${isThere && html`<iframe class="report" title=${title} src=${path} sandbox=""></iframe>`}
    <//>
  `;
}
