// A recipe as a form: what most people change first, everything else behind "more settings".
import { html } from "../../vendor/preact.js";
import { t } from "../../core/i18n.js";
import { columnsOf, withColumn, withoutColumn } from "../../core/template.js";
import { Chip, Field, Section, Tick } from "../../parts/basics.js";
import { Lines, SettingFields, choicesOf, resolve } from "../../parts/settings.js";

function Documents({ table, recipe, onChange }) {
  const chosen = columnsOf(recipe.table.document);
  const free = table.columns.map((column) => column.name).filter((name) => !(name in recipe.columns));
  const set = (document) => onChange({ ...recipe, table: { ...recipe.table, document } });
  const tick = (name, isOn) => set((isOn ? withColumn : withoutColumn)(recipe.table.document, name));
  return html`
    <${Section} title=${t("recipe.document")} hint=${t("recipe.document.hint")}>
      <div class="card">
        <fieldset>
          <legend class="hidden">${t("recipe.document")}</legend>
          <div class="ticks">
            ${free.map(
              (name) => html`<${Tick}
                key=${name}
                label=${name}
                checked=${chosen.includes(name)}
                disabled=${chosen.length === 1 && chosen[0] === name}
                onChange=${(isOn) => tick(name, isOn)}
              />`,
            )}
          </div>
        </fieldset>
        <details>
          <summary>${t("recipe.template")}</summary>
          <${Field} label=${t("recipe.template.label")} hint=${t("recipe.template.hint")}>
            ${(attributes) => html`
              <textarea ...${attributes} value=${recipe.table.document} onInput=${(event) => set(event.currentTarget.value)}></textarea>
            `}
          <//>
        </details>
      </div>
    <//>
  `;
}

/** The sources that answer a column: all that are there, or those that are ticked. */
function Sources({ schema, definitions, value, onChange }) {
  const forms = (schema.anyOf ?? [schema]).map((form) => resolve(form, definitions));
  const names = choicesOf([resolve(forms.find((form) => form.type === "array")?.items, definitions)]) ?? [];
  const isOn = (name) => value === null || value === undefined || value.includes(name);
  const tick = (name, on) => {
    const next = names.filter((each) => (each === name ? on : isOn(each)));
    if (next.length > 0) onChange(next.length === names.length ? null : next);
  };
  return html`
    <fieldset>
      <legend>${t("recipe.sources")}</legend>
      <div class="ticks">
        ${names.map(
          (name) => html`<${Tick}
            key=${name}
            label=${t(`source.${name}`)}
            checked=${isOn(name)}
            onChange=${(on) => tick(name, on)}
          />`,
        )}
      </div>
      <p class="hint">${t("recipe.sources.hint")}</p>
    </fieldset>
  `;
}

/** Finds the definition of a column kind, method or stage by its `kind`. */
function definitionOf(kind, schema, definitions) {
  const { discriminator } = schema;
  if (discriminator?.mapping?.[kind]) return resolve({ $ref: discriminator.mapping[kind] }, definitions);
  const forms = (schema.oneOf ?? schema.anyOf ?? [schema]).map((form) => resolve(form, definitions));
  return forms.find((form) => form.properties?.kind?.const === kind) ?? {};
}

function Column({ name, column, schema, definitions, onChange, onRemove }) {
  const about = definitionOf(column.kind, schema, definitions);
  const properties = about.properties ?? {};
  const change = (part) => onChange({ ...column, ...part });
  return html`
    <div class="card">
      <div class="section-head">
        <h3>${name}</h3>
        <div class="actions">
          <${Chip} tone="accent">${t(`kind.${column.kind}`)}<//>
          ${onRemove && html`<button type="button" class="quiet" onClick=${onRemove}>${t("recipe.leave")}</button>`}
        </div>
      </div>
      <${Field} label=${t("recipe.question")} hint=${t("recipe.question.hint")}>
        ${(attributes) => html`
          <textarea
            ...${attributes}
            rows="2"
            value=${column.question}
            onInput=${(event) => change({ question: event.currentTarget.value })}
          ></textarea>
        `}
      <//>
      <div class="fields">
        ${properties.labels &&
        html`<${Field} label=${t("recipe.labels")} hint=${t(`recipe.labels.${column.kind}`)}>
          ${(attributes) => html`<${Lines} attributes=${attributes} value=${column.labels} onChange=${(labels) => change({ labels })} />`}
        <//>`}
        ${properties.sources &&
        html`<${Sources}
          schema=${properties.sources}
          definitions=${definitions}
          value=${column.sources}
          onChange=${(sources) => change({ sources })}
        />`}
      </div>
      <details>
        <summary>${t("recipe.more")}</summary>
        <${SettingFields}
          schema=${about}
          definitions=${definitions}
          value=${column}
          onChange=${onChange}
          skip=${["kind", "question", "labels", "sources"]}
        />
      </details>
    </div>
  `;
}

function Columns({ recipe, schema, definitions, onChange }) {
  const names = Object.keys(recipe.columns);
  const set = (columns) => onChange({ ...recipe, columns });
  const drop = (name) => set(Object.fromEntries(Object.entries(recipe.columns).filter(([each]) => each !== name)));
  return html`
    <${Section} title=${t("recipe.columns")}>
      ${names.map(
        (name) => html`<${Column}
          key=${name}
          name=${name}
          column=${recipe.columns[name]}
          schema=${schema}
          definitions=${definitions}
          onChange=${(column) => set({ ...recipe.columns, [name]: column })}
          onRemove=${names.length > 1 ? () => drop(name) : null}
        />`,
      )}
    <//>
  `;
}

/** The methods of a schema, by kind. */
function methodsOf(schema, definitions) {
  const forms = (schema.oneOf ?? schema.anyOf ?? [schema]).map((form) => resolve(form, definitions));
  return forms.map((form) => form.properties?.kind?.const ?? form.properties?.kind?.default).filter(Boolean);
}

function Method({ recipe, schema, definitions, onChange }) {
  const kind = recipe.method?.kind ?? "lora";
  const choose = (event) => onChange({ ...recipe, method: { kind: event.currentTarget.value } });
  return html`
    <${Field} label=${t("recipe.method")} hint=${t(`method.${kind}.text`)}>
      ${(attributes) => html`
        <select ...${attributes} value=${kind} onChange=${choose}>
          ${methodsOf(schema, definitions).map((each) => html`<option key=${each} value=${each}>${t(`method.${each}`)}</option>`)}
        </select>
      `}
    <//>
  `;
}

function Training({ recipe, schema, definitions, onChange }) {
  const { properties } = schema;
  const training = resolve(properties.training, definitions);
  const setPart = (part) => (value) => onChange({ ...recipe, [part]: value });
  const pick = (names) => ({ properties: Object.fromEntries(names.map((name) => [name, training.properties[name]])) });
  const first = ["epochs", "dev_fraction"];
  const methodSchema = definitionOf(recipe.method?.kind ?? "lora", properties.method, definitions);
  const rest = { properties: { layout: properties.layout, chat: properties.chat, encoder: properties.encoder } };
  const parts = [
    ["method", methodSchema, ["kind"]],
    ["training", training, first],
    ["encoding", resolve(properties.encoding, definitions), []],
    ["table", resolve(properties.table, definitions), ["document"]],
  ];
  return html`
    <${Section} title=${t("recipe.training")}>
      <div class="card">
        <div class="fields">
          <${Method} recipe=${recipe} schema=${properties.method} definitions=${definitions} onChange=${onChange} />
          <${Field} label=${t("recipe.model")} hint=${t("recipe.model.hint")}>
            ${(attributes) => html`
              <input
                ...${attributes}
                spellcheck="false"
                value=${recipe.model ?? properties.model.default}
                onInput=${(event) => onChange({ ...recipe, model: event.currentTarget.value })}
              />
            `}
          <//>
        </div>
        <${SettingFields}
          schema=${pick(first)}
          definitions=${definitions}
          value=${recipe.training}
          onChange=${setPart("training")}
        />
        <details>
          <summary>${t("recipe.more")}</summary>
          <div class="parts">
            ${parts.map(
              ([part, about, skip]) => html`<fieldset key=${part}>
                <legend><code>[${part}]</code></legend>
                <${SettingFields} schema=${about} definitions=${definitions} value=${recipe[part]} onChange=${setPart(part)} skip=${skip} />
              </fieldset>`,
            )}
            <${SettingFields} schema=${rest} definitions=${definitions} value=${recipe} onChange=${onChange} />
          </div>
        </details>
      </div>
    <//>
  `;
}

/**
 * The form of a recipe.
 *
 * @param {Object} table The table that is trained on.
 * @param {Object} schema The recipe's JSON schema.
 * @param {Object} recipe The recipe.
 * @param {function(Object): void} onChange Gets the changed recipe.
 */
export function RecipeForm({ table, schema, recipe, onChange }) {
  const definitions = schema.$defs ?? {};
  const columnSchema = resolve(schema.properties.columns.additionalProperties, definitions);
  return html`
    <${Columns} recipe=${recipe} schema=${columnSchema} definitions=${definitions} onChange=${onChange} />
    <${Documents} table=${table} recipe=${recipe} onChange=${onChange} />
    <${Training} recipe=${recipe} schema=${schema} definitions=${definitions} onChange=${onChange} />
  `;
}
