// Records that one reader includes and another excludes; somebody settles them.
import { html, useEffect, useState } from "../vendor/preact.js";
import { apiPath, newId, useApi } from "../core/api.js";
import { t } from "../core/i18n.js";
import { Empty, Loaded } from "../parts/basics.js";
import { SaveState, ScreenPage, SIGNS, Verdict, WhoReads, useReader } from "./frame.js";
import { useSaving } from "./saving.js";

function Conflict({ conflict, onSettle }) {
  return html`<li class="conflict">
    <h2>${conflict.title}</h2>
    <dl class="sides">
      ${Object.entries(conflict.verdicts).map(
        ([reader, verdict]) => html`<div key=${reader}>
          <dt>${reader}</dt>
          <dd><${Verdict} verdict=${verdict} /> ${conflict.notes[reader] && html`<span>${conflict.notes[reader]}</span>`}</dd>
        </div>`,
      )}
    </dl>
    <details>
      <summary>${t("screen.abstract")}</summary>
      <p>${conflict.abstract || t("screen.no-abstract")}</p>
    </details>
    <div class="actions">
      ${["include", "exclude"].map(
        (verdict) => html`<button type="button" key=${verdict} class=${`decision ${verdict}`} onClick=${() => onSettle(verdict)}>
          <span aria-hidden="true">${SIGNS[verdict]}</span> ${t(`screen.settle.${verdict}`)}
        </button>`,
      )}
    </div>
  </li>`;
}

function Conflicts({ screen, reload }) {
  const [reader, setReader] = useReader(screen);
  const [settled, setSettled] = useState([]);
  const saving = useSaving(screen.id);
  const found = useApi(apiPath("screens", screen.id, "conflicts"));
  const isSaved = saving.waiting.length === 0;
  useEffect(() => {
    if (isSaved && settled.length > 0) reload();
  }, [isSaved]);
  const settle = (record, verdict) => {
    saving.add({ id: newId(), reader, kind: verdict, record, settles: true });
    setSettled((before) => [...before, record]);
  };
  return html`
    <div class="bar-line"><${SaveState} screen=${screen} /><${WhoReads} screen=${screen} reader=${reader} onReader=${setReader} /></div>
    <${Loaded} from=${found}>
      ${(data) => {
        const open = data.conflicts.filter(({ record }) => !settled.includes(record));
        if (open.length === 0) return html`<${Empty} title=${t("screen.conflicts.none")} />`;
        return html`<p>${t("screen.conflicts.hint", { n: open.length })}</p>
          <ul class="list conflicts">
            ${open.map(
              (each) => html`<${Conflict} key=${each.record} conflict=${each} onSettle=${(verdict) => settle(each.record, verdict)} />`,
            )}
          </ul>`;
      }}
    <//>
  `;
}

/** The page. */
export function ConflictsPage({ id }) {
  return html`<${ScreenPage} id=${id} current="conflicts">
    ${(screen, reload) => html`<${Conflicts} screen=${screen} reload=${reload} />`}
  <//>`;
}
