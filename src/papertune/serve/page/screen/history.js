// All decisions that stand, the newest first.
import { html, useState } from "../vendor/preact.js";
import { apiPath, useApi } from "../core/api.js";
import { moment } from "../core/format.js";
import { t } from "../core/i18n.js";
import { link } from "../core/router.js";
import { Empty, Loaded, useId } from "../parts/basics.js";
import { Pager } from "../parts/grid.js";
import { ScreenPage, Verdict } from "./frame.js";

const SIZE = 50;

function Decision({ screen, decision }) {
  const target = link(["screens", screen.id], { record: decision.record });
  return html`<li>
    <div class="list-main">
      <a href=${target}>${decision.title}</a>
      <p class="hint">
        ${[t("screen.record", { n: decision.record + 1 }), decision.reader, moment(decision.at)].join(" · ")}
        ${decision.settles && ` · ${t("screen.settled")}`}
      </p>
    </div>
    <${Verdict} verdict=${decision.verdict} />
  </li>`;
}

function Decisions({ screen }) {
  const [reader, setReader] = useState("");
  const [offset, setOffset] = useState(0);
  const id = useId();
  const query = new URLSearchParams({ n: SIZE, offset, ...(reader ? { reader } : {}) });
  const found = useApi(`${apiPath("screens", screen.id, "history")}?${query}`);
  const choose = (event) => {
    setReader(event.currentTarget.value);
    setOffset(0);
  };
  return html`
    ${screen.readers.length > 1 &&
    html`<div class="who">
      <label for=${id}>${t("screen.history.of")}</label>
      <select id=${id} value=${reader} onChange=${choose}>
        <option value="">${t("screen.history.all")}</option>
        ${screen.readers.map((name) => html`<option key=${name} value=${name}>${name}</option>`)}
      </select>
    </div>`}
    <p class="hint">${t("screen.history.hint")}</p>
    <${Loaded} from=${found}>
      ${(data) =>
        data.decisions.length === 0
          ? html`<${Empty} title=${t("screen.recent.none")} />`
          : html`<ul class="list">
              ${data.decisions.map((each) => html`<${Decision} key=${each.event} screen=${screen} decision=${each} />`)}
            </ul>
            <${Pager} offset=${offset} size=${SIZE} more=${data.more} onOffset=${setOffset} />`}
    <//>
  `;
}

/** The page. */
export function HistoryPage({ id }) {
  return html`<${ScreenPage} id=${id} current="history">${(screen) => html`<${Decisions} screen=${screen} />`}<//>`;
}
