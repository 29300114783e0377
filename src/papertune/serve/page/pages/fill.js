// A run fills in a table: choose both, read the check, start.
import { html, useEffect, useState } from "../vendor/preact.js";
import { apiPath, post, useApi } from "../core/api.js";
import { useDraft } from "../core/kept.js";
import { t } from "../core/i18n.js";
import { go } from "../core/router.js";
import { ErrorNotice, Field, Page, Section, Tick, WorkButton } from "../parts/basics.js";
import { RunChoice, TableChoice } from "../parts/choices.js";
import { Findings } from "../parts/findings.js";
import { Upload } from "../parts/upload.js";

/** Checks a table against a run's own recipe. */
function useCheck(table, run) {
  const [state, setState] = useState({ checked: null, error: null });
  const about = useApi(run === null ? null : apiPath("runs", run));
  const recipe = about.data?.recipe ?? null;
  useEffect(() => {
    setState({ checked: null, error: null });
    if (table === null || recipe === null) return undefined;
    const stop = new AbortController();
    post("/api/recipes/check", { table, recipe, purpose: "predict" }, stop.signal).then(
      (checked) => setState({ checked, error: null }),
      (error) => error.name !== "AbortError" && setState({ checked: null, error }),
    );
    return () => stop.abort();
  }, [table, recipe]);
  return state;
}

/** The name that a filled table gets, as long as nobody has written another one. */
const filledName = (table) => (table ? `${table.name.replace(/\.[^.]*$/, "")}-filled` : "");

/** The page that fills in a table. */
export function FillPage({ query }) {
  const [draft, setDraft, forget] = useDraft("fill", { run: null, table: null, name: "", probabilities: false });
  const change = (part) => setDraft((before) => ({ ...before, ...part }));
  const [error, setError] = useState(null);
  useEffect(() => {
    // The address says where the person comes from, which counts more than an older draft.
    if (query.run || query.table) {
      change({ ...(query.run && { run: query.run }), ...(query.table && { table: query.table, name: "" }) });
    }
  }, [query.run, query.table]);
  const table = useApi(draft.table === null ? null : apiPath("tables", draft.table));
  const { checked, error: checkError } = useCheck(draft.table, draft.run);
  const name = draft.name || filledName(table.data);
  const hasErrors = checked?.findings.some((finding) => finding.level === "error") ?? false;
  const start = async () => {
    const options = { probabilities: draft.probabilities };
    const job = await post("/api/jobs", { kind: "predict", table: draft.table, run: draft.run, name, options });
    forget();
    go(["jobs", job.id]);
  };
  return html`
    <${Page} title=${t("fill.title")} lead=${t("fill.lead")}>
      <div class="card">
        <div class="fields">
          <${RunChoice} value=${draft.run} onChange=${(run) => change({ run })} />
          <${TableChoice}
            label=${t("fill.table")}
            hint=${t("fill.table.hint")}
            value=${draft.table}
            onChange=${(id) => change({ table: id, name: "" })}
          />
          <${Field} label=${t("fill.name")} hint=${t("fill.name.hint")}>
            ${(attributes) => html`
              <input ...${attributes} value=${name} onInput=${(event) => change({ name: event.currentTarget.value })} />
            `}
          <//>
          <${Tick}
            label=${t("fill.probabilities")}
            hint=${t("fill.probabilities.hint")}
            checked=${draft.probabilities}
            onChange=${(probabilities) => change({ probabilities })}
          />
        </div>
        <${ErrorNotice} error=${error ?? checkError ?? table.error} />
        <${WorkButton}
          className="main"
          disabled=${draft.run === null || table.data === null || hasErrors}
          onError=${setError}
          onClick=${start}
        >
          ${t("fill.do")}
        <//>
      </div>
      ${draft.table === null && html`<${Upload} onTable=${(added) => change({ table: added.id, name: "" })} />`}
      ${checked !== null &&
      html`<${Section} title=${t("check.title")}>
        <${Findings} checked=${checked} table=${table.data} />
      <//>`}
    <//>
  `;
}
