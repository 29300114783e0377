// From a labelled table to a training: what is to be learned, the recipe as a form, the check, the start.
import { html, useState } from "../../vendor/preact.js";
import { apiPath, post, useApi } from "../../core/api.js";
import { useDraft } from "../../core/kept.js";
import { shorten } from "../../core/format.js";
import { t } from "../../core/i18n.js";
import { go, link } from "../../core/router.js";
import { ErrorNotice, Loaded, Notice, Page, Section, WorkButton } from "../../parts/basics.js";
import { TableChoice } from "../../parts/choices.js";
import { Findings } from "../../parts/findings.js";
import { RunName } from "../../parts/run_name.js";
import { RecipeForm } from "./form.js";
import { useChecked } from "./checked.js";

// Dev rows from which probabilities are calibrated (docs/recipes.md).
const CALIBRATION_ROWS = 60;
const KINDS = ["label", "labels", "keywords", "text", "number"];

/** Which columns are learned, and what stands in them. */
function Kinds({ table, kinds, onChange }) {
  return html`
    <ul class="list">
      ${table.columns.map(
        ({ name, examples = [] }) => html`<li key=${name}>
          <div class="list-main examples">
            <strong>${name}</strong>
            <p>${examples.slice(0, 2).map((text) => html`<span key=${text}>${shorten(text, 60)}</span>`)}</p>
          </div>
          <select
            class="kind"
            aria-label=${t("recipe.kind.of", { name })}
            value=${kinds[name] ?? ""}
            onChange=${(event) => onChange({ ...kinds, [name]: event.currentTarget.value })}
          >
            <option value="">${t("recipe.kind.none")}</option>
            ${KINDS.map((kind) => html`<option key=${kind} value=${kind}>${t(`kind.${kind}`)}</option>`)}
          </select>
        </li>`,
      )}
    </ul>
  `;
}

/** Reads a recipe file that the person has already. */
function RecipeFile({ onRecipe, onError }) {
  const read = async (event) => {
    const [file] = event.currentTarget.files;
    event.currentTarget.value = "";
    if (!file) return;
    onError(null);
    try {
      const { recipe } = await post("/api/recipes/toml", { toml: await file.text() });
      onRecipe(recipe);
    } catch (error) {
      onError(error);
    }
  };
  return html`<label class="button quiet">
    <input type="file" class="hidden" accept=".toml" onChange=${read} />${t("recipe.file")}
  </label>`;
}

/**
 * Keeps some rows back, a tenth or as many as calibration needs; the form shows the share.
 *
 * Without dev rows there is no dev curve, and nothing to calibrate on.
 */
function withDevRows(recipe, rows) {
  if (recipe.training?.dev_fraction) return recipe;
  const share = Math.min(0.25, Math.max(0.1, Math.ceil((100 * CALIBRATION_ROWS) / rows) / 100));
  return { ...recipe, training: { ...recipe.training, dev_fraction: share } };
}

function FirstStep({ table, draft, change }) {
  const [error, setError] = useState(null);
  const columns = Object.entries(draft.kinds)
    .filter(([, kind]) => kind)
    .map(([column, kind]) => ({ column, kind }));
  const make = async () => {
    const { recipe, warnings } = await post("/api/recipes/init", { table: table.id, columns });
    change({ recipe: withDevRows(recipe, table.rows), warnings: warnings ?? [] });
  };
  return html`
    <${Section} title=${t("recipe.first")} hint=${t("recipe.first.hint")}>
      <${Kinds} table=${table} kinds=${draft.kinds} onChange=${(kinds) => change({ kinds })} />
      <${ErrorNotice} error=${error} />
      <div class="actions">
        <${WorkButton} className=${draft.recipe ? "" : "main"} disabled=${columns.length === 0} onError=${setError} onClick=${make}>
          ${t(draft.recipe ? "recipe.again" : "recipe.make")}
        <//>
        <${RecipeFile} onRecipe=${(recipe) => change({ recipe, warnings: [] })} onError=${setError} />
      </div>
    <//>
  `;
}

/** Returns a name for a run that the server accepts. */
export function runName(fileName) {
  const bare = fileName.replace(/\.[^.]*$/, "").replace(/[^A-Za-z0-9._-]+/g, "-");
  return bare.replace(/^[.-]+|-+$/g, "").slice(0, 60) || "run";
}

function Start({ table, draft, change, hasErrors }) {
  const [error, setError] = useState(null);
  const name = draft.name ?? runName(table.name);
  const start = async () => {
    const options = draft.dev ? { dev: draft.dev } : {};
    const job = await post("/api/jobs", { kind: "train", table: table.id, recipe: draft.recipe, name, options });
    // The draft stays: a training that fails is corrected here.
    go(["jobs", job.id]);
  };
  return html`
    <${Section} title=${t("recipe.start")}>
      <div class="card">
        <div class="fields">
          <${RunName} name=${name} error=${error} onChange=${(given) => change({ name: given })} />
          <${TableChoice}
            label=${t("recipe.dev")}
            hint=${t("recipe.dev.hint")}
            value=${draft.dev}
            onChange=${(dev) => change({ dev })}
            none=${t("recipe.dev.none")}
          />
        </div>
        ${error?.where !== "name" && html`<${ErrorNotice} error=${error} />`}
        ${hasErrors && html`<${Notice} level="warning">${t("recipe.mistakes")}<//>`}
        <${WorkButton} className="main" disabled=${hasErrors} onError=${setError} onClick=${start}>${t("recipe.do")}<//>
      </div>
    <//>
  `;
}

function Toml({ text, name }) {
  const [isCopied, setCopied] = useState(false);
  const copy = async () => {
    await navigator.clipboard.writeText(text);
    setCopied(true);
  };
  const save = () => {
    const address = URL.createObjectURL(new Blob([text], { type: "application/toml" }));
    Object.assign(document.createElement("a"), { href: address, download: `${name}.toml` }).click();
    URL.revokeObjectURL(address);
  };
  return html`
    <details>
      <summary>${t("recipe.toml")}</summary>
      <div class="stack">
        <p class="hint">${t("recipe.toml.hint")}</p>
        <pre class="toml" tabindex="0">${text}</pre>
        <div class="actions">
          ${navigator.clipboard && html`<button type="button" onClick=${copy}>${t(isCopied ? "do.copied" : "do.copy")}</button>`}
          <button type="button" onClick=${save}>${t("download.get")}</button>
        </div>
      </div>
    </details>
  `;
}

function SecondStep({ table, schema, draft, change }) {
  const { checked, toml, error, isRunning } = useChecked(table.id, draft.recipe);
  // A table that is too large to check here can be trained on all the same: the training checks it again.
  const isInvalid = error !== null && !["check_too_long", "check_ended"].includes(error.code);
  const hasErrors = isInvalid || (checked?.findings.some((finding) => finding.level === "error") ?? false);
  // Beside the heading, where it moves nothing when it comes and goes.
  const state = html`<p class="loading" role="status">${isRunning ? t("check.running") : ""}</p>`;
  return html`
    ${draft.warnings.map((text) => html`<${Notice} key=${text} level="warning">${text}<//>`)}
    <${RecipeForm} table=${table} schema=${schema} recipe=${draft.recipe} onChange=${(recipe) => change({ recipe })} />
    <${Section} title=${t("check.title")} hint=${t("check.hint")} actions=${state}>
      <${ErrorNotice} error=${error} />
      ${checked !== null && html`<${Findings} checked=${checked} table=${table} />`}
      ${toml !== null && html`<${Toml} text=${toml} name=${draft.name ?? runName(table.name)} />`}
    <//>
    <${Start} ...${{ table, draft, change, hasErrors }} />
  `;
}

/** The page that makes a recipe for a table and starts the training. */
export function RecipePage({ id }) {
  const table = useApi(apiPath("tables", id));
  const schema = useApi("/api/recipes/schema");
  const [draft, setDraft] = useDraft(`recipe.${id}`, { kinds: {}, recipe: null, warnings: [], dev: null });
  const change = (part) => setDraft((before) => ({ ...before, ...part }));
  const crumbs = [
    [t("nav.tables"), link(["tables"])],
    [table.data?.name ?? "…", link(["tables", id])],
  ];
  return html`
    <${Page} title=${t("recipe.title")} crumbs=${crumbs} lead=${t("recipe.lead")}>
      <${Loaded} from=${table}>
        ${(data) => html`
          <${FirstStep} table=${data} draft=${draft} change=${change} />
          ${draft.recipe !== null &&
          html`<${Loaded} from=${schema}>
            ${(described) => html`<${SecondStep} ...${{ table: data, schema: described, draft, change }} />`}
          <//>`}
        `}
      <//>
    <//>
  `;
}
