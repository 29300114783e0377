// Deleting something of the work folder, after a question that names what goes.
import { html, useState } from "../vendor/preact.js";
import { remove } from "../core/api.js";
import { t } from "../core/i18n.js";
import { go } from "../core/router.js";
import { Confirm } from "./basics.js";

/**
 * A button that asks before it deletes.
 *
 * @param {string} path What is deleted.
 * @param {string} name What people call it.
 * @param {*} children What goes with it, and what stays.
 * @param {string[]} after The page that is opened afterwards.
 * @param {function(Error|null): void} onError Gets why it was refused.
 */
export function Delete({ path, name, children, after, onError }) {
  const [isAsked, setAsked] = useState(false);
  const work = async () => {
    onError(null);
    try {
      await remove(path);
      go(after);
    } catch (error) {
      if (error.status === undefined) throw error;
      onError(error);
    }
  };
  return html`
    <button type="button" class="quiet" onClick=${() => setAsked(true)}>${t("delete.do")}</button>
    ${isAsked &&
    html`<${Confirm} title=${t("delete.title", { name })} action=${t("delete.do")} onConfirm=${work} onClose=${() => setAsked(false)}>
      ${children}
    <//>`}
  `;
}
