// A form for settings that a JSON schema describes, so that it never lacks one that the recipe has.
import { html, useEffect, useState } from "../vendor/preact.js";
import { hasWord, settingText, t } from "../core/i18n.js";
import { Field, Tick } from "./basics.js";

/** Follows a `$ref` into the definitions. */
export function resolve(schema, definitions) {
  return schema?.$ref ? definitions[schema.$ref.split("/").at(-1)] : (schema ?? {});
}

/** Returns the ways in which a value can be written: the parts of anyOf, or the schema itself; null is left out. */
function formsOf(schema, definitions) {
  const forms = schema.anyOf ?? schema.oneOf ?? [schema];
  return forms.map((form) => resolve(form, definitions)).filter((form) => form.type !== "null");
}

const isNullable = (schema) => (schema.anyOf ?? []).some((form) => form.type === "null");

/** The values that a schema allows, if it lists them. */
export function choicesOf(forms) {
  const values = forms.flatMap((form) => form.enum ?? (form.const !== undefined ? [form.const] : [null]));
  return values.includes(null) ? null : values;
}

/** The name of a setting: in words where the dictionaries have them, else as the recipe calls it. */
function labelOf(name) {
  const key = `setting.label.${name}`;
  return hasWord(key) ? t(key) : html`<code>${name}</code>`;
}

/**
 * Reads a setting that can be several things: a number, a word, JSON for lists and tables, or nothing.
 *
 * @throws {SyntaxError} If it begins like JSON and is none.
 */
export function readLoose(text, isNull) {
  const bare = text.trim();
  if (bare === "" && isNull) return null;
  if (/^[[{]/.test(bare)) return JSON.parse(bare);
  const value = Number(bare);
  return bare !== "" && Number.isFinite(value) ? value : text;
}

const writeLoose = (value) =>
  value === null || value === undefined ? "" : typeof value === "object" ? JSON.stringify(value) : String(value);

/** An input whose text is kept while it cannot be read, for example "0." on the way to "0.5". */
function TextSetting({ attributes, value, read, write, onChange, kind = "text" }) {
  const [text, setText] = useState(write(value));
  const [isWrong, setWrong] = useState(false);
  useEffect(() => {
    // The value may change from outside; the person's own writing of the same value stays.
    setText((before) => {
      try {
        return JSON.stringify(read(before)) === JSON.stringify(value ?? null) ? before : write(value);
      } catch {
        return write(value);
      }
    });
  }, [JSON.stringify(value)]);
  const input = (event) => {
    const next = event.currentTarget.value;
    setText(next);
    try {
      onChange(read(next));
      setWrong(false);
    } catch {
      setWrong(true);
    }
  };
  const common = { ...attributes, value: text, onInput: input, "aria-invalid": isWrong ? "true" : undefined };
  return kind === "lines" ? html`<textarea ...${common} rows="3"></textarea>` : html`<input ...${common} inputmode=${kind} />`;
}

const readNumber = (isNull) => (text) => {
  if (text.trim() === "" && isNull) return null;
  const value = Number(text);
  if (text.trim() === "" || !Number.isFinite(value)) throw new SyntaxError("not a number");
  return value;
};

/** Returns the lines of a text that are not blank. */
export const readLines = (text) =>
  text
    .split("\n")
    .map((line) => line.trim())
    .filter(Boolean);

/** A list of texts, one a line. */
export function Lines({ attributes, value, onChange }) {
  const write = (list) => (list ?? []).join("\n");
  return html`<${TextSetting} attributes=${attributes} value=${value} read=${readLines} write=${write} onChange=${onChange} kind="lines" />`;
}

function Choice({ attributes, value, choices, isNull, onChange }) {
  const choose = (event) => {
    const { value: text } = event.currentTarget;
    onChange(text === "" ? null : choices.find((choice) => String(choice) === text));
  };
  return html`
    <select ...${attributes} value=${value === null ? "" : String(value)} onChange=${choose}>
      ${isNull && html`<option value="">${t("setting.none")}</option>`}
      ${choices.map((choice) => html`<option key=${choice} value=${String(choice)}>${String(choice)}</option>`)}
    </select>
  `;
}

function control(forms, isNull, attributes, value, onChange) {
  const choices = choicesOf(forms);
  if (choices) return html`<${Choice} ...${{ attributes, value, choices, isNull, onChange }} />`;
  const [form] = forms;
  const isOne = forms.length === 1;
  if (isOne && (form.type === "number" || form.type === "integer")) {
    const read = readNumber(isNull);
    return html`<${TextSetting} ...${{ attributes, value, read, write: writeLoose, onChange }} kind="decimal" />`;
  }
  if (isOne && form.type === "array" && !isNull) return html`<${Lines} ...${{ attributes, value, onChange }} />`;
  if (isOne && form.type === "string" && !isNull) {
    return html`<${TextSetting} ...${{ attributes, value, read: String, write: String, onChange }} />`;
  }
  const read = (text) => readLoose(text, isNull);
  return html`<${TextSetting} ...${{ attributes, value, read, write: writeLoose, onChange }} />`;
}

function Setting({ name, schema, definitions, value, onChange }) {
  const forms = formsOf(resolve(schema, definitions), definitions);
  const hint = settingText(name, schema.description);
  const shown = value === undefined ? (schema.default ?? null) : value;
  if (forms.length === 1 && forms[0].type === "boolean") {
    return html`<${Tick} label=${labelOf(name)} hint=${hint} checked=${shown === true} onChange=${onChange} />`;
  }
  return html`
    <${Field} label=${labelOf(name)} hint=${hint}>
      ${(attributes) => control(forms, isNullable(schema), attributes, shown, onChange)}
    <//>
  `;
}

/**
 * Fields for all properties of an object.
 *
 * @param {Object} schema The object's schema.
 * @param {Object} definitions `$defs` of the whole schema.
 * @param {Object} value The object.
 * @param {function(Object): void} onChange Gets the changed object.
 * @param {string[]} skip Properties that stand elsewhere in the form.
 */
export function SettingFields({ schema, definitions, value, onChange, skip = [] }) {
  const names = Object.keys(schema.properties ?? {}).filter((name) => !skip.includes(name));
  if (names.length === 0) return null;
  return html`
    <div class="fields">
      ${names.map(
        (name) => html`<${Setting}
          key=${name}
          name=${name}
          schema=${schema.properties[name]}
          definitions=${definitions}
          value=${value?.[name]}
          onChange=${(next) => onChange({ ...value, [name]: next })}
        />`,
      )}
    </div>
  `;
}
