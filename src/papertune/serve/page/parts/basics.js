// The small parts of which all pages are made.
import { html, useEffect, useRef, useState } from "../vendor/preact.js";
import { saidText, t } from "../core/i18n.js";

let isFirstPage = true;

/**
 * A page: its heading gets the focus when the page is opened from another one, and the window gets its title.
 *
 * @param {string} title The heading.
 * @param {string} lead A sentence below it.
 * @param {Array} crumbs Pairs of text and link to the pages above.
 */
export function Page({ title, lead, crumbs = [], actions, children }) {
  const heading = useRef(null);
  useEffect(() => {
    document.title = title ? `${title} · papertune` : "papertune";
  }, [title]);
  useEffect(() => {
    if (!isFirstPage) heading.current?.focus({ preventScroll: true });
    if (!isFirstPage) scrollTo(0, 0);
    isFirstPage = false;
  }, []);
  return html`
    <div class="page">
      ${crumbs.length > 0 &&
      html`<nav class="crumbs" aria-label=${t("page.crumbs")}>
        <ol>
          ${crumbs.map(([text, target]) => html`<li key=${target}><a href=${target}>${text}</a></li>`)}
        </ol>
      </nav>`}
      <header class="page-head">
        <div>
          <h1 tabindex="-1" ref=${heading}>${title}</h1>
          ${lead && html`<p class="lead">${lead}</p>`}
        </div>
        ${actions && html`<div class="actions">${actions}</div>`}
      </header>
      ${children}
    </div>
  `;
}

/** A part of a page with a heading of its own. */
export function Section({ title, hint, actions, children }) {
  return html`
    <section class="section">
      ${title &&
      html`<div class="section-head">
        <div>
          <h2>${title}</h2>
          ${hint && html`<p class="hint">${hint}</p>`}
        </div>
        ${actions && html`<div class="actions">${actions}</div>`}
      </div>`}
      ${children}
    </section>
  `;
}

const MARKS = { error: "✕", warning: "!", note: "i", good: "✓" };

/** A message in a box. Errors are read out at once. */
export function Notice({ level = "note", title, children, actions }) {
  return html`
    <div class=${`notice ${level}`} role=${level === "error" ? "alert" : "status"}>
      <span class="mark" aria-hidden="true">${MARKS[level]}</span>
      <div class="notice-text">
        ${title && html`<strong>${title}</strong>`}
        <div>${children}</div>
      </div>
      ${actions && html`<div class="actions">${actions}</div>`}
    </div>
  `;
}

/**
 * What a command has said: in the page's language with the command's own sentence below it, or that sentence alone.
 *
 * @param {{message: string, code: string|undefined, params: Object|undefined}} said As the server sends it.
 */
export function Said({ said }) {
  const text = saidText(said.code, said.params);
  if (text === null) return said.message;
  return html`
    ${text}
    <details>
      <summary>${t("said.original")}</summary>
      <p lang="en">${said.message}</p>
    </details>
  `;
}

/** What went wrong with a request, with a button that tries again where that is possible. */
export function ErrorNotice({ error, retry }) {
  if (!error) return null;
  // What papertune itself says of a table, recipe or run has a code of its own.
  const said = { message: error.text, code: error.params?.what, params: error.params };
  const text = error.code === "invalid" ? html`<${Said} said=${said} />` : error.message;
  const button = retry && html`<button type="button" class="quiet" onClick=${retry}>${t("do.retry")}</button>`;
  return html`<${Notice} level="error" actions=${button}>${text}<//>`;
}

/** What stands where something is being loaded. It appears late, so that fast answers do not flicker. */
export function Loading({ text }) {
  const [isLate, setLate] = useState(false);
  useEffect(() => {
    const timer = setTimeout(() => setLate(true), 250);
    return () => clearTimeout(timer);
  }, []);
  return html`<p class="loading" role="status">${isLate ? (text ?? t("page.loading")) : ""}</p>`;
}

/** What stands where there is nothing yet. */
export function Empty({ title, children }) {
  return html`<div class="empty"><p class="empty-title">${title}</p>${children}</div>`;
}

/** Shows what was loaded, or that it is being loaded, or why it could not be. */
export function Loaded({ from, children }) {
  const { data, error, reload } = from;
  return html`
    <${ErrorNotice} error=${error} retry=${reload} />
    ${data !== null ? children(data) : error ? null : html`<${Loading} />`}
  `;
}

let fields = 0;

/** Returns an id that ties a label to its control. */
export function useId(prefix = "f") {
  const id = useRef("");
  if (id.current === "") id.current = `${prefix}${(fields += 1)}`;
  return id.current;
}

/**
 * A control with its label, a hint and what is wrong with it.
 *
 * @param {function(Object): *} children Gets the attributes of the control (id, aria-describedby, aria-invalid).
 */
export function Field({ label, hint, problem, children }) {
  const id = useId();
  const described = [hint && `${id}-hint`, problem && `${id}-problem`].filter(Boolean).join(" ") || undefined;
  const attributes = { id, "aria-describedby": described, "aria-invalid": problem ? "true" : undefined };
  return html`
    <div class="field">
      <label for=${id}>${label}</label>
      ${children(attributes)} ${hint && html`<p class="hint" id=${`${id}-hint`}>${hint}</p>`}
      ${problem && html`<p class="problem" id=${`${id}-problem`}>${problem}</p>`}
    </div>
  `;
}

/** A box to tick, with its label and a hint. */
export function Tick({ label, hint, checked, onChange, disabled = false }) {
  const id = useId();
  return html`
    <div class="tick">
      <input
        type="checkbox"
        id=${id}
        checked=${checked}
        disabled=${disabled}
        aria-describedby=${hint ? `${id}-hint` : undefined}
        onChange=${(event) => onChange(event.currentTarget.checked)}
      />
      <label for=${id}>${label}</label>
      ${hint && html`<p class="hint" id=${`${id}-hint`}>${hint}</p>`}
    </div>
  `;
}

/** A short word in a coloured frame, for a state. */
export const Chip = ({ tone = "plain", children }) => html`<span class=${`chip ${tone}`}>${children}</span>`;

/** How far something is; without a share the bar only moves. */
export function Progress({ share, label }) {
  return share === null || share === undefined
    ? html`<progress aria-label=${label}></progress>`
    : html`<progress aria-label=${label} value=${share} max="1"></progress>`;
}

/**
 * A button whose work takes a moment: it ignores presses meanwhile (a disabled one would lose the focus), and its
 * failure is shown by the caller.
 *
 * @param {function(): Promise} onClick The work.
 * @param {function(Error|null): void} onError Gets null when the work begins, and the error if it fails.
 */
export function WorkButton({ onClick, onError, className = "", disabled = false, children }) {
  const [isBusy, setBusy] = useState(false);
  const work = async () => {
    if (isBusy) return;
    setBusy(true);
    onError(null);
    try {
      await onClick();
    } catch (error) {
      if (error.status === undefined) throw error;
      onError(error);
    } finally {
      setBusy(false);
    }
  };
  return html`
    <button type="button" class=${className} disabled=${disabled} aria-disabled=${isBusy} aria-busy=${isBusy} onClick=${work}>
      ${children}
    </button>
  `;
}

/** A question before something that cannot be undone, in the browser's own dialog element. */
export function Confirm({ title, children, action, onConfirm, onClose }) {
  const dialog = useRef(null);
  const id = useId("dialog");
  useEffect(() => {
    dialog.current.showModal();
  }, []);
  return html`
    <dialog ref=${dialog} aria-labelledby=${id} onClose=${onClose}>
      <h2 id=${id}>${title}</h2>
      <p>${children}</p>
      <div class="actions">
        <button type="button" onClick=${() => dialog.current.close()}>${t("do.cancel")}</button>
        <button
          type="button"
          class="danger"
          onClick=${() => {
            onConfirm();
            dialog.current.close();
          }}
        >
          ${action}
        </button>
      </div>
    </dialog>
  `;
}
