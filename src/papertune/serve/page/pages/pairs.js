// What can be trained on pairs of answers: the run itself, or a model that judges answers.
import { html, useState } from "../vendor/preact.js";
import { apiPath, post, useApi } from "../core/api.js";
import { t } from "../core/i18n.js";
import { useDraft } from "../core/kept.js";
import { go, link } from "../core/router.js";
import { ErrorNotice, Loaded, Section, WorkButton, useId } from "../parts/basics.js";
import { RunName } from "../parts/run_name.js";

// As docs/stages.md has them.
const STAGES = ["dpo", "kto", "rm"];
// Columns whose answers are written; only they have preferences.
const WRITTEN = ["keywords", "ranked_keywords", "text"];

/** Whether a run has columns that preferences are about. */
export const isWriting = (run) => (run?.columns ?? []).some((column) => WRITTEN.includes(column.kind));

function Stage({ stage, group, isChosen, onChoose }) {
  const id = useId();
  return html`
    <div class="tick">
      <input type="radio" id=${id} name=${group} checked=${isChosen} aria-describedby=${`${id}-hint`} onChange=${onChoose} />
      <label for=${id}>${t(`pairs.${stage}`)}</label>
      <p class="hint" id=${`${id}-hint`}>${t(`pairs.${stage}.text`)}</p>
    </div>
  `;
}

function Form({ job, run }) {
  const [draft, setDraft] = useDraft(`pairs.${job.id}`, { stage: STAGES[0], name: null });
  const [error, setError] = useState(null);
  const group = useId("stages");
  const name = draft.name ?? `${run.name}-${draft.stage}`;
  const start = async () => {
    const only = run.columns.filter((column) => WRITTEN.includes(column.kind)).map((column) => column.name);
    const options = { pairs: job.id, start_from: run.name, stage: draft.stage, only };
    const training = await post("/api/jobs", { kind: "train", name, options });
    go(["jobs", training.id]);
  };
  return html`
    <div class="card">
      <fieldset>
        <legend>${t("pairs.stage")}</legend>
        <div class="stack">
          ${STAGES.map(
            (stage) => html`<${Stage}
              key=${stage}
              stage=${stage}
              group=${group}
              isChosen=${draft.stage === stage}
              onChoose=${() => setDraft((before) => ({ ...before, stage }))}
            />`,
          )}
        </div>
      </fieldset>
      <${RunName} name=${name} error=${error} onChange=${(given) => setDraft((before) => ({ ...before, name: given }))} />
      ${error?.where !== "name" && html`<${ErrorNotice} error=${error} />`}
      <${WorkButton} onError=${setError} onClick=${start}>${t("recipe.do")}<//>
    </div>
  `;
}

/** The ways on from a job that has made pairs. */
export function PairsTraining({ job }) {
  const run = useApi(apiPath("runs", job.run));
  return html`
    <${Section} title=${t("pairs.title")} hint=${t("pairs.hint")}>
      <p><a class="button main" href=${link(["tables", job.table, "recipe"])}>${t("pairs.first")}</a></p>
      <${Loaded} from=${run}>${(data) => html`<${Form} job=${job} run=${data} />`}<//>
    <//>
  `;
}
