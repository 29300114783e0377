// What the pages of a screening share: its name, the ways between its pages, who reads, what is saved.
import { html, useState } from "../vendor/preact.js";
import { apiPath, useApi } from "../core/api.js";
import { keepChoice, readChoice } from "../core/kept.js";
import { t } from "../core/i18n.js";
import { link } from "../core/router.js";
import { Loaded, Notice, Page, useId } from "../parts/basics.js";
import { useSaving } from "./saving.js";

const PAGES = ["", "progress", "history", "conflicts", "settings"];

/** The marks of decisions: a sign beside the colour. */
export const SIGNS = { include: "+", exclude: "−", unsure: "?", conflict: "≠" };
export const VERDICTS = ["include", "exclude", "unsure"];

/** A decision as a short word with its sign. */
export const Verdict = ({ verdict }) => html`<span class=${`verdict ${verdict}`}>
  <span aria-hidden="true">${SIGNS[verdict]}</span> ${t(`screen.${verdict}`)}
</span>`;

/** Who reads in this browser; the first reader if nobody was chosen. */
export function useReader(screen) {
  const key = `reader.${screen.id}`;
  const [chosen, setChosen] = useState(readChoice(key));
  const choose = (name) => {
    keepChoice(key, name);
    setChosen(name);
  };
  return [screen.readers.includes(chosen) ? chosen : screen.readers[0], choose];
}

/** The choice of who reads; nothing to choose if there is one reader. */
export function WhoReads({ screen, reader, onReader }) {
  const id = useId();
  if (screen.readers.length < 2) return null;
  return html`
    <div class="who">
      <label for=${id}>${t("screen.who")}</label>
      <select id=${id} value=${reader} onChange=${(event) => onReader(event.currentTarget.value)}>
        ${screen.readers.map((name) => html`<option key=${name} value=${name}>${name}</option>`)}
      </select>
    </div>
  `;
}

function Ways({ screen, current }) {
  const conflicts = screen.progress.conflict;
  const shown = PAGES.filter((page) => page !== "conflicts" || screen.readers.length > 1 || conflicts > 0);
  return html`
    <nav class="tabs" aria-label=${t("screen.pages")}>
      ${shown.map(
        (page) => html`<a
          key=${page}
          href=${link(["screens", screen.id, ...(page ? [page] : [])])}
          aria-current=${page === current ? "page" : undefined}
        >
          ${t(`screen.page.${page || "read"}`)}
          ${page === "conflicts" && conflicts > 0 && html` <span class="count">${conflicts}</span>`}
        </a>`,
      )}
    </nav>
  `;
}

/** What is not saved yet. A line that is always there, so that nothing moves. */
export function SaveState({ screen }) {
  const saving = useSaving(screen.id);
  const waiting = saving.waiting.length;
  const isSlow = waiting > 0 && saving.error !== null;
  const text = waiting === 0 ? t("screen.saved") : t(isSlow ? "screen.waiting" : "screen.saving", { n: waiting });
  return html`<p class=${isSlow ? "save-state slow" : "save-state"} role="status">${text}</p>`;
}

/** Why something could not be saved, in full. */
export function SaveTrouble({ screen }) {
  const saving = useSaving(screen.id);
  if (saving.refused.length > 0) {
    const button = html`<button type="button" class="quiet" onClick=${() => saving.dismiss()}>${t("screen.ok")}</button>`;
    return html`<${Notice} level="error" actions=${button} title=${t("screen.refused", { n: saving.refused.length })}>
      ${saving.error?.message}
    <//>`;
  }
  if (saving.waiting.length > 0 && saving.error !== null && saving.error.status !== 0) {
    return html`<${Notice} level="warning">${saving.error.message}<//>`;
  }
  return null;
}

/**
 * A page of a screening, once the server has described the screening.
 *
 * @param {string} current The last part of the page's address.
 * @param {function(Object, function(): void): *} children Gets the screening, and a function that loads it anew.
 */
export function ScreenPage({ id, current, children }) {
  const found = useApi(apiPath("screens", id));
  const crumbs = [[t("nav.screening"), link(["screens"])]];
  if (found.data === null) {
    return html`<${Page} title=${t("nav.screening")} crumbs=${crumbs}><${Loaded} from=${found}>${() => null}<//><//>`;
  }
  return html`
    <${Page} title=${found.data.name} crumbs=${crumbs}>
      <div class="screen-page">
        <${Ways} screen=${found.data} current=${current} />
        <${SaveTrouble} screen=${found.data} />
        ${children(found.data, found.reload)}
      </div>
    <//>
  `;
}
