// Runs: what was trained, how well it does, and what it can do.
import { html, useState } from "../vendor/preact.js";
import { apiPath, post, useApi } from "../core/api.js";
import { duration, moment, number } from "../core/format.js";
import { t } from "../core/i18n.js";
import { go, link } from "../core/router.js";
import { Chip, Empty, ErrorNotice, Loaded, Notice, Page, Section, WorkButton } from "../parts/basics.js";
import { fillsIn, TableChoice } from "../parts/choices.js";
import { Curves } from "../parts/curves.js";
import { Delete } from "../parts/delete.js";
import { JobList, RunList } from "../parts/lists.js";

/** The list of runs. */
export function RunsPage() {
  const runs = useApi("/api/runs");
  return html`
    <${Page} title=${t("runs.title")} lead=${t("runs.lead")}>
      <${Loaded} from=${runs}>
        ${(data) =>
          data.runs.length > 0
            ? html`<${RunList} runs=${data.runs} />`
            : html`<${Empty} title=${t("runs.none")}>
                <a class="button" href=${link(["tables"], { for: "train" })}>${t("home.train")}</a>
              <//>`}
      <//>
    <//>
  `;
}

function Columns({ run }) {
  return html`
    <ul class="list">
      ${run.columns.map(
        (column) => html`<li key=${column.name}>
          <div class="list-main">
            <strong>${column.name}</strong>
            ${column.labels && html`<p class="hint">${column.labels.join(" · ")}</p>`}
          </div>
          <${Chip}>${t(`kind.${column.kind}`)}<//>
        </li>`,
      )}
    </ul>
  `;
}

/** The curves of the training, as the run itself keeps them. */
function Training({ points }) {
  const line = (name) => points.filter((point) => typeof point[name] === "number").map((point) => [point.step, point[name]]);
  return html`<${Curves} losses=${line("loss")} scores=${line("score")} />`;
}

/** Starts an evaluation on a table whose columns are filled in. */
function Evaluate({ run }) {
  const [table, setTable] = useState(null);
  const [baselines, setBaselines] = useState(null);
  const [error, setError] = useState(null);
  const start = async () => {
    const options = baselines === null ? {} : { baselines };
    const job = await post("/api/jobs", { kind: "evaluate", table, run: run.name, name: run.name, options });
    go(["jobs", job.id]);
  };
  return html`
    <div class="card">
      <div class="fields">
        <${TableChoice} label=${t("evaluate.table")} hint=${t("evaluate.table.hint")} value=${table} onChange=${setTable} />
        <${TableChoice}
          label=${t("evaluate.baselines")}
          hint=${t("evaluate.baselines.hint")}
          value=${baselines}
          onChange=${setBaselines}
          none=${t("evaluate.baselines.none")}
        />
      </div>
      <${ErrorNotice} error=${error} />
      <${WorkButton} disabled=${table === null} onError=${setError} onClick=${start}>${t("evaluate.do")}<//>
    </div>
  `;
}

const MEASURES = {
  dev_score: number,
  steps: number,
  seconds: duration,
  examples: number,
  trained_weights: number,
};

/** What was measured in the training. */
function Measures({ measures = {} }) {
  const known = Object.entries(MEASURES).filter(([name]) => typeof measures[name] === "number");
  const others = Object.entries(measures).filter(([name, value]) => !(name in MEASURES) && typeof value === "number");
  if (known.length + others.length === 0) return null;
  return html`
    <dl class="facts">
      ${known.map(
        ([name, write]) => html`<div key=${name}><dt>${t(`measure.${name}`)}</dt><dd>${write(measures[name])}</dd></div>`,
      )}
      ${others.map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${number(value)}</dd></div>`)}
    </dl>
  `;
}

/** The evaluations of a run, each with its report. */
function Evaluations({ run }) {
  const jobs = useApi("/api/jobs").data?.jobs ?? [];
  const all = jobs.filter((job) => job.run === run.name);
  // What is older than the training was of another run, which had the name before it was deleted.
  const training = all.findIndex((job) => job.kind === "train");
  const done = all.slice(0, training === -1 ? all.length : training).filter((job) => job.kind === "evaluate");
  return done.length > 0 ? html`<${JobList} jobs=${done} />` : null;
}

function Shown({ run }) {
  const crumbs = [[t("nav.runs"), link(["runs"])]];
  const [error, setError] = useState(null);
  const actions = html`
    ${fillsIn(run) &&
    html`<a class="button main" href=${link(["fill"], { run: run.name })}>${t("run.fill")}</a>
      <a class="button" href=${link(["runs", run.name, "chat"])}>${t("run.chat")}</a>`}
    <${Delete} path=${apiPath("runs", run.name)} name=${run.name} after=${["runs"]} onError=${setError}>
      ${t("run.delete.text")}
    <//>
  `;
  const lead = [run.base, run.method && t(`method.${run.method}`), moment(run.created)].filter(Boolean).join(" · ");
  return html`
    <${Page} title=${run.name} crumbs=${crumbs} lead=${lead} actions=${actions}>
      <${ErrorNotice} error=${error} />
      ${!run.complete && html`<${Notice} level="warning" title=${t("run.incomplete")}>${run.message}<//>`}
      ${run.complete && !fillsIn(run) && html`<${Notice}>${t(`run.stage.${run.stage}`)}<//>`}
      <${Measures} measures=${run.measures} />
      ${(fillsIn(run) || !run.complete) && html`<${Section} title=${t("run.columns")}><${Columns} run=${run} /><//>`}
      ${(run.curve ?? []).length > 0 && html`<${Section} title=${t("run.training")}><${Training} points=${run.curve} /><//>`}
      ${fillsIn(run) &&
      html`<${Section} title=${t("evaluate.title")} hint=${t("evaluate.hint")}>
        <${Evaluate} run=${run} />
        <${Evaluations} run=${run} />
      <//>`}
      ${run.toml && html`<details><summary>${t("recipe.toml")}</summary><pre class="toml" tabindex="0">${run.toml}</pre></details>`}
    <//>
  `;
}

/** The page of a run. */
export function RunPage({ name }) {
  const run = useApi(apiPath("runs", name));
  if (run.data === null) {
    return html`<${Page} title=${name} crumbs=${[[t("nav.runs"), link(["runs"])]]}>
      <${Loaded} from=${run}>${() => null}<//>
    <//>`;
  }
  return html`<${Shown} run=${run.data} />`;
}
