// One record: title and abstract with marked words, note and tags.
import { html, useEffect, useRef, useState } from "../vendor/preact.js";
import { t } from "../core/i18n.js";
import { useId } from "../parts/basics.js";
import { Verdict } from "./frame.js";

const CLASSES = { 1: "for", "-1": "against" };

/** A text whose words for and against are marked, by an underline of their own and not by colour alone. */
export function Marked({ parts, isMarked }) {
  return parts.map(([text, sign]) =>
    sign === 0 || !isMarked ? text : html`<mark class=${CLASSES[sign]}>${text}</mark>`,
  );
}

/** What the marks mean. */
export function Legend({ record, isMarked, onMarked }) {
  const id = useId();
  return html`
    <div class="legend-line">
      <input type="checkbox" id=${id} checked=${isMarked} onChange=${(event) => onMarked(event.currentTarget.checked)} />
      <label for=${id}>${t("screen.marks")}</label>
      ${isMarked &&
      record.words_learned &&
      html`<span><mark class="for">${t("screen.for")}</mark></span><span><mark class="against">${t("screen.against")}</mark></span>`}
      ${!record.words_learned && html`<span class="hint">${t("screen.marks.later")}</span>`}
    </div>
  `;
}

function Reason({ record }) {
  return html`
    ${record.reason === "sample" && html`<p class="reason">${t("screen.reason.sample")}</p>`}
    ${record.near_duplicates.map(
      (other) => html`<p class="reason" key=${other.record}>
        ${t("screen.near", { title: other.title })} ${other.verdict && html`<${Verdict} verdict=${other.verdict} />`}
      </p>`,
    )}
  `;
}

/** Title and abstract. The title gets the focus when another record is shown, so that it is read out. */
export function RecordText({ record, isMarked, heading }) {
  return html`
    <article class="record" aria-labelledby="record-title" data-record=${record.record}>
      <h2 id="record-title" tabindex="-1" ref=${heading}><${Marked} parts=${record.title_parts} isMarked=${isMarked} /></h2>
      <p class="record-line">
        <span>${t("screen.record", { n: record.record + 1 })}</span>
        ${record.id && html`<span>${record.id}</span>`}
        ${record.link && html`<a href=${record.link} target="_blank" rel="noreferrer noopener">${t("screen.doi")}</a>`}
        ${record.verdict && html`<span>${t("screen.was")} <${Verdict} verdict=${record.verdict} /></span>`}
      </p>
      <${Reason} record=${record} />
      <div class="abstract">
        ${record.abstract
          ? html`<${Marked} parts=${record.abstract_parts} isMarked=${isMarked} />`
          : html`<p class="hint">${t("screen.no-abstract")}</p>`}
      </div>
    </article>
  `;
}

/** The reader's note on the record; it is saved when the field is left. */
export function NoteField({ record, field, onNote }) {
  const [text, setText] = useState(record.note);
  const id = useId();
  const latest = useRef(null);
  latest.current = { record, onNote };
  // What the field holds, since the last keys may not have been painted yet.
  const save = (event) => {
    const { record: about, onNote: tell } = latest.current;
    const now = event.currentTarget.value.trim();
    if (now !== about.note) tell(now);
  };
  const seen = useRef(record.note);
  useEffect(() => {
    if (seen.current === record.note) return; // at first, when somebody may be typing already
    seen.current = record.note;
    setText(record.note);
  }, [record.note]);
  const press = (event) => {
    if (event.key === "Escape" || (event.key === "Enter" && event.ctrlKey)) event.currentTarget.blur();
  };
  return html`
    <div class="field">
      <label for=${id}>${t("screen.note")}</label>
      <textarea
        id=${id}
        ref=${field}
        rows="2"
        maxlength="10000"
        value=${text}
        onInput=${(event) => setText(event.currentTarget.value)}
        onBlur=${save}
        onKeyDown=${press}
      ></textarea>
    </div>
  `;
}

/** The reader's tags of the record; known tags are buttons, the first nine with a digit as their key. */
export function TagField({ record, known, field, onTags }) {
  const [text, setText] = useState("");
  const id = useId();
  const toggle = (tag) => onTags(toggled(record.tags, tag));
  const add = (event) => {
    event.preventDefault();
    const tag = field.current.value.trim();
    if (tag !== "" && !record.tags.includes(tag)) onTags([...record.tags, tag]);
    setText("");
    field.current.blur();
  };
  return html`
    <form class="field" onSubmit=${add}>
      <label for=${id}>${t("screen.tags")}</label>
      <div class="tag-row">
        ${known.map(
          (tag, place) => html`<button
            type="button"
            key=${tag}
            class="tag"
            aria-pressed=${record.tags.includes(tag)}
            onClick=${() => toggle(tag)}
          >
            ${place < 9 && html`<kbd>${place + 1}</kbd> `}${tag}
          </button>`,
        )}
        <input
          id=${id}
          ref=${field}
          maxlength="100"
          placeholder=${t("screen.tags.new")}
          value=${text}
          onInput=${(event) => setText(event.currentTarget.value)}
          onKeyDown=${(event) => event.key === "Escape" && event.currentTarget.blur()}
        />
      </div>
    </form>
  `;
}

/** Returns tags with one more, or without the one that was there. */
export const toggled = (tags, tag) => (tags.includes(tag) ? tags.filter((each) => each !== tag) : [...tags, tag]);
