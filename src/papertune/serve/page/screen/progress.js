// How far a screening is: what was found, whether one may stop, how far readers agree, and the ways on.
import { html, useState } from "../vendor/preact.js";
import { apiPath, post, useApi } from "../core/api.js";
import { number } from "../core/format.js";
import { languageTag, t } from "../core/i18n.js";
import { go } from "../core/router.js";
import { LineChart } from "../parts/chart.js";
import { Confirm, ErrorNotice, Loaded, Notice, Section, WorkButton, useId } from "../parts/basics.js";
import { DownloadAs } from "../parts/download.js";
import { Scroll } from "../parts/grid.js";
import { ScreenPage, Verdict, useReader } from "./frame.js";

/** Returns a share with one decimal, never rounded up: 94.96% is not 95%. */
function share(value) {
  const tenths = Math.floor(value * 1000 + 1e-9) / 1000;
  return tenths.toLocaleString(languageTag(), { style: "percent", maximumFractionDigits: 1 });
}

function Facts({ progress }) {
  const read = progress.records > 0 ? progress.read / progress.records : 0;
  return html`
    <p>${t("screen.read", { read: progress.read, records: progress.records, share: share(read) })}</p>
    <ul class="verdict-counts">
      ${["include", "exclude", "unsure", "conflict"].map(
        (verdict) => html`<li key=${verdict}><${Verdict} verdict=${verdict} /> <b>${number(progress[verdict])}</b></li>`,
      )}
    </ul>
  `;
}

function Curve({ progress }) {
  if (progress.curve.length === 0) return html`<p class="hint">${t("screen.curve.none")}</p>`;
  return html`
    <${LineChart}
      label=${t("screen.curve")}
      xLabel=${t("screen.curve.read")}
      series=${[{ name: t("screen.curve.found"), points: [[0, 0], ...progress.curve] }]}
    />
    <p class="hint">${t("screen.since", { n: progress.since_last })}</p>
  `;
}

/** Why the last sample says nothing yet, or what it says. */
function Judgement({ found }) {
  const { sample, certificate, target } = found;
  if (sample === null) return null;
  if (certificate === null) {
    return html`<${Notice} level="note">
      ${sample.added > 0
        ? t("screen.sample.added", { n: sample.added })
        : sample.left > 0
          ? t("screen.sample.left", { left: sample.left, size: sample.size })
          : t("screen.sample.open", { n: sample.open + sample.undecided })}
    <//>`;
  }
  const values = {
    target: share(target),
    hits: certificate.hits,
    size: certificate.size,
    confidence: share(1 - certificate.alpha),
    bound: share(certificate.lower_bound),
    p: certificate.p_value.toFixed(4),
    limit: certificate.alpha.toFixed(4),
  };
  const key = certificate.certified ? "screen.certified" : "screen.not-certified";
  return html`<${Notice} level=${certificate.certified ? "good" : "warning"} title=${t(key, values)}>
    <p>${t("screen.bound", values)}</p>
    <p>${t("screen.p", values)}</p>
    <p>${t("screen.covers-not")}</p>
  <//>`;
}

function Cost({ found }) {
  const { cost, target } = found;
  if (cost.unseen === 0) return html`<p>${t("screen.cost.all-read")}</p>`;
  if (cost.found === 0) return html`<p>${t("screen.cost.none")}</p>`;
  return html`
    ${cost.sizes.length > 0 &&
    html`<p>${t("screen.cost", { unseen: cost.unseen, target: share(target) })}</p>
      <ul>
        ${cost.sizes.map(
          ({ hits, size }) => html`<li key=${hits}>${t(hits === 0 ? "screen.cost.size.0" : "screen.cost.size", { hits, size })}</li>`,
        )}
      </ul>`}
    ${cost.reading_all_is_cheaper && html`<p>${t("screen.cost.all", { unseen: cost.unseen })}</p>`}
  `;
}

function Draw({ screen, found, onDrawn }) {
  const smallest = found.cost.sizes[0]?.size;
  const [size, setSize] = useState(null);
  const [isAsked, setAsked] = useState(false);
  const [error, setError] = useState(null);
  const [reader] = useReader(screen);
  const id = useId();
  const chosen = size ?? smallest ?? 1;
  const draw = async () => {
    setError(null);
    try {
      await post(apiPath("screens", screen.id, "sample"), { size: Number(chosen), reader });
      onDrawn();
    } catch (failure) {
      setError(failure);
    }
  };
  if (found.cost.unseen === 0 || found.cost.found === 0 || (found.sample?.left ?? 0) > 0) return null;
  return html`
    <${ErrorNotice} error=${error} />
    <div class="draw">
      <label for=${id}>${t("screen.draw.size")}</label>
      <input
        id=${id}
        type="number"
        min="1"
        max=${found.cost.unseen}
        value=${chosen}
        onInput=${(event) => setSize(event.currentTarget.value)}
      />
      <button type="button" disabled=${!(Number(chosen) >= 1)} onClick=${() => setAsked(true)}>${t("screen.draw")}</button>
    </div>
    ${isAsked &&
    html`<${Confirm}
      title=${t("screen.draw.title", { n: Number(chosen) })}
      action=${t("screen.draw")}
      onConfirm=${draw}
      onClose=${() => setAsked(false)}
    >
      ${t("screen.draw.text")}
    <//>`}
  `;
}

function Certificate({ screen, onDrawn }) {
  const found = useApi(apiPath("screens", screen.id, "certificate"));
  const drawn = () => {
    found.reload();
    onDrawn();
  };
  return html`<${Section} title=${t("screen.stop")} hint=${t("screen.stop.hint")}>
    <${Loaded} from=${found}>
      ${(data) => html`
        <${Judgement} found=${data} />
        ${data.certificate?.certified ? null : html`<div class="stack"><${Cost} found=${data} /><${Draw} screen=${screen} found=${data} onDrawn=${drawn} /></div>`}
      `}
    <//>
  <//>`;
}

function Agreement({ progress }) {
  if (progress.agreement.length === 0) return null;
  return html`<${Section} title=${t("screen.agreement")} hint=${t("screen.agreement.hint")}>
    <${Scroll} label=${t("screen.agreement")}>
      <table>
        <thead>
          <tr>
            <th scope="col">${t("screen.agreement.readers")}</th>
            <th scope="col" class="number">${t("screen.agreement.records")}</th>
            <th scope="col" class="number">${t("screen.agreement.same")}</th>
            <th scope="col" class="number">${t("screen.kappa")}</th>
          </tr>
        </thead>
        <tbody>
          ${progress.agreement.map(
            (each) => html`<tr key=${each.readers.join()}>
              <th scope="row">${each.readers.join(" · ")}</th>
              <td class="number">${number(each.records)}</td>
              <td class="number">${number(each.both_include + each.both_exclude)}</td>
              <td class="number">${each.kappa === null ? t("screen.kappa.none") : number(each.kappa)}</td>
            </tr>`,
          )}
        </tbody>
      </table>
    <//>
  <//>`;
}

function Export({ screen }) {
  const [isDecided, setDecided] = useState(false);
  const [error, setError] = useState(null);
  const query = { decided_only: String(isDecided) };
  const make = async () => {
    const table = await post(apiPath("screens", screen.id, "table"), {});
    go(["tables", table.id, "recipe"]);
  };
  return html`<${Section} title=${t("screen.export")} hint=${t("screen.export.hint")}>
    <${DownloadAs} path=${apiPath("screens", screen.id, "export")} query=${query} more=${["ris"]}>
      <select
        aria-label=${t("screen.export.which")}
        value=${String(isDecided)}
        onChange=${(event) => setDecided(event.currentTarget.value === "true")}
      >
        <option value="false">${t("screen.export.all")}</option>
        <option value="true">${t("screen.export.decided")}</option>
      </select>
    <//>
    <${ErrorNotice} error=${error} />
    <div class="actions">
      <${WorkButton} className="main" onClick=${make} onError=${setError}>${t("screen.train")}<//>
      <span class="hint">${t("screen.train.hint")}</span>
    </div>
  <//>`;
}

function Content({ screen, onDrawn }) {
  const progress = useApi(apiPath("screens", screen.id, "progress"));
  return html`
    <div class="screen-page">
      <${Loaded} from=${progress}>
        ${(data) => html`
          <${Section} title=${t("screen.found")}><${Facts} progress=${data} /><${Curve} progress=${data} /><//>
          <${Certificate} screen=${screen} onDrawn=${onDrawn} />
          <${Agreement} progress=${data} />
        `}
      <//>
    </div>
    <${Export} screen=${screen} />
  `;
}

/** The page. */
export function ProgressPage({ id }) {
  return html`<${ScreenPage} id=${id} current="progress">
    ${(screen, reload) => html`<${Content} screen=${screen} onDrawn=${reload} />`}
  <//>`;
}
