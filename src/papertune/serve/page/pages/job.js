// One job while it runs and afterwards. Everything shown comes from the server, so a refresh changes nothing.
import { html, useEffect, useState } from "../vendor/preact.js";
import { announce } from "../core/announce.js";
import { apiPath, post, useApi } from "../core/api.js";
import { duration, moment, number, percent } from "../core/format.js";
import { hasWord, saidText, t } from "../core/i18n.js";
import { link } from "../core/router.js";
import { useJobEvents } from "../core/stream.js";
import { Chip, ErrorNotice, Loaded, Notice, Page, Progress, Said, Section, WorkButton } from "../parts/basics.js";
import { fillsIn } from "../parts/choices.js";
import { Curves } from "../parts/curves.js";
import { Delete } from "../parts/delete.js";
import { Download } from "../parts/download.js";
import { titleOf, toneOf } from "../parts/lists.js";
import { PairsTraining } from "./pairs.js";

// The exit code of a process that SIGKILL has ended.
const KILLED = 137;

/** The name of a phase in the page's language, if it has one. */
const phaseName = (phase) => (hasWord(`phase.${phase}`) ? t(`phase.${phase}`) : phase);

/** How far the job is, and how long it takes. */
function Now({ job, events }) {
  const { progress } = events;
  if (job.state !== "running") return null;
  if (progress === null) return html`<div class="card"><p>${t("job.begins")}</p><${Progress} label=${t("job.running")} /></div>`;
  const share = progress.total ? progress.done / progress.total : null;
  const facts = [
    progress.total ? t("job.done", { done: progress.done, total: progress.total }) : number(progress.done),
    share !== null && percent(share),
    typeof progress.left === "number" && t("job.left", { time: duration(progress.left) }),
  ];
  return html`
    <div class="card">
      <p class="now-phase">${phaseName(progress.phase)}</p>
      <${Progress} share=${share} label=${phaseName(progress.phase)} />
      <p class="now-facts">${facts.filter(Boolean).map((fact) => html`<span key=${fact}>${fact}</span>`)}</p>
    </div>
  `;
}

function Messages({ messages, isOpen }) {
  if (messages.length === 0) return null;
  return html`
    <details open=${isOpen}>
      <summary>${t("job.messages", { n: messages.length })}</summary>
      <ul class="log" tabindex="0" aria-label=${t("job.messages", { n: messages.length })}>
        ${messages.map((message, place) => html`<li key=${place} class=${message.level ?? ""}>${saidText(message.code, message.params) ?? message.text}</li>`)}
      </ul>
    </details>
  `;
}

/** What stands where a filled table is ready. */
function FilledTable({ id }) {
  const table = useApi(apiPath("tables", id));
  return html`
    <${Loaded} from=${table}>
      ${(data) => html`
        <div class="card">
          <h2>${data.name}</h2>
          <p class="hint">${t("table.size", { rows: data.rows, columns: data.columns.length })}</p>
          <div class="actions">
            <a class="button main" href=${link(["tables", id, "correct"])}>${t("job.correct")}</a>
            <a class="button" href=${link(["tables", id])}>${t("job.look")}</a>
          </div>
          <${Download} table=${data} />
        </div>
      `}
    <//>
  `;
}

/** What stands where a run is ready. */
function TrainedRun({ name }) {
  const run = useApi(apiPath("runs", name));
  return html`
    <${Loaded} from=${run}>
      ${(data) => html`
        <div class="card">
          <h2>${t("job.trained", { name })}</h2>
          <div class="actions">
            ${fillsIn(data) &&
            html`<a class="button main" href=${link(["fill"], { run: name })}>${t("run.fill")}</a>
              <a class="button" href=${link(["runs", name, "chat"])}>${t("run.chat")}</a>`}
            <a class="button" href=${link(["runs", name])}>${t("run.about")}</a>
          </div>
        </div>
      `}
    <//>
  `;
}

/** Why a job has ended without being done. */
function Ending({ job }) {
  if (job.state === "failed") return html`<${Notice} level="error"><${Said} said=${job} /><//>`;
  if (job.state === "stopped") return html`<${Notice} level="warning">${t("job.stopped")}<//>`;
  if (job.state !== "interrupted") return null;
  return html`<${Notice} level="warning">${t(job.exit === KILLED ? "job.killed" : "job.interrupted")}<//>`;
}

/** Where to go when a job is done. */
function Result({ job }) {
  if (job.state !== "done") return null;
  if (job.kind === "predict" && job.result_table) return html`<${FilledTable} id=${job.result_table} />`;
  if (job.kind === "train") return html`<${TrainedRun} name=${job.run} />`;
  if (job.kind === "evaluate") {
    const target = link(["runs", job.run, "report"], { job: job.id });
    return html`<p><a class="button main" href=${target}>${t("run.report")}</a></p>`;
  }
  return html`
    <p><a class="button" href=${apiPath("jobs", job.id, "pairs")} download>${t("job.pairs")}</a></p>
    <${PairsTraining} job=${job} />
  `;
}

function Controls({ job, onError, onChange }) {
  const ask = async (what) => {
    await post(apiPath("jobs", job.id, what));
    onChange();
  };
  const isRunning = job.state === "running";
  return html`
    <${Chip} tone=${toneOf(job.state)}>${t(`job.state.${job.state}`)}<//>
    ${isRunning &&
    html`<${WorkButton} onError=${onError} onClick=${() => ask("stop")}>${t("job.stop")}<//>`}
    ${job.resumable &&
    !isRunning &&
    html`<${WorkButton} className="main" onError=${onError} onClick=${() => ask("resume")}>${t("job.resume")}<//>`}
    ${!isRunning &&
    html`<${Delete} path=${apiPath("jobs", job.id)} name=${titleOf(job)} after=${["jobs"]} onError=${onError}>
      ${t(`job.delete.${job.kind}`)}
    <//>`}
  `;
}

function Shown({ job, onChange }) {
  const events = useJobEvents(job.id, job.attempts);
  const [error, setError] = useState(null);
  useEffect(() => {
    if (events.end !== null) onChange();
  }, [events.end]);
  useEffect(() => {
    announce(t("job.is", { name: job.name, state: t(`job.state.${job.state}`) }));
  }, [job.state]);
  // What a job that is done warns of, such as rows that were trained on, is read without a press.
  const hasWarning = events.messages.some((message) => message.level === "warning");
  const isOpen = hasWarning || ["running", "failed"].includes(job.state);
  const crumbs = [[t("nav.jobs"), link(["jobs"])]];
  const controls = html`<${Controls} job=${job} onError=${setError} onChange=${onChange} />`;
  const lead = job.ended
    ? t("job.times", { created: moment(job.created), ended: moment(job.ended) })
    : t("job.since", { created: moment(job.created) });
  return html`
    <${Page} title=${titleOf(job)} crumbs=${crumbs} lead=${lead} actions=${controls}>
      <${ErrorNotice} error=${error} />
      <${Ending} job=${job} />
      ${job.kind === "train" &&
      job.state === "failed" &&
      html`<p><a class="button" href=${link(["tables", job.table, "recipe"])}>${t("job.recipe")}</a></p>`}
      <${Now} job=${job} events=${events} />
      <${Result} job=${job} />
      <${Curves} losses=${events.losses} scores=${events.scores.score ?? []} />
      <${Section}><${Messages} messages=${events.messages} isOpen=${isOpen} /><//>
    <//>
  `;
}

/** The page of a job. */
export function JobPage({ id }) {
  const job = useApi(apiPath("jobs", id), 3000);
  if (job.data === null) {
    return html`<${Page} title=${t("jobs.title")}><${Loaded} from=${job}>${() => null}<//><//>`;
  }
  return html`<${Shown} job=${job.data} onChange=${job.reload} />`;
}
