// The name of a run that is to be trained.
import { html } from "../vendor/preact.js";
import { t } from "../core/i18n.js";
import { Field } from "./basics.js";

/** A field for the name; an error of the server that is about it stands beside it. */
export function RunName({ name, error, onChange }) {
  return html`
    <${Field}
      label=${t("recipe.name")}
      hint=${t("recipe.name.hint")}
      problem=${error?.where === "name" ? error.message : null}
    >
      ${(attributes) => html`
        <input
          ...${attributes}
          value=${name}
          spellcheck="false"
          onInput=${(event) => onChange(event.currentTarget.value)}
        />
      `}
    <//>
  `;
}
