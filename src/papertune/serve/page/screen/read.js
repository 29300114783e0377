// The page on which somebody reads: one record, one key, the next record.
import { html, useEffect, useRef, useState } from "../vendor/preact.js";
import { announce } from "../core/announce.js";
import { keepChoice, readChoice } from "../core/kept.js";
import { t } from "../core/i18n.js";
import { link } from "../core/router.js";
import { Empty, ErrorNotice, Loading, Tick } from "../parts/basics.js";
import { SIGNS, SaveState, ScreenPage, Verdict, VERDICTS, WhoReads, useReader } from "./frame.js";
import { useKeys, useKeysChoice } from "./keys.js";
import { useReading } from "./reading.js";
import { Legend, NoteField, RecordText, TagField, toggled } from "./record.js";

const KEYS = { include: "i", exclude: "e", unsure: "u" };

/** The buttons. They stand above the text, so its length does not move them. */
function Buttons({ reading, isOn, onDecide, onUndo }) {
  const disabled = reading.current === null;
  return html`
    <div class="decide" role="group" aria-label=${t("screen.decide")}>
      ${VERDICTS.map(
        (verdict) => html`<button
          type="button"
          key=${verdict}
          class=${`decision ${verdict}`}
          disabled=${disabled}
          aria-keyshortcuts=${isOn ? KEYS[verdict] : undefined}
          onClick=${() => onDecide(verdict)}
        >
          <span aria-hidden="true">${SIGNS[verdict]}</span> ${t(`screen.do.${verdict}`)}
          ${isOn && html` <kbd aria-hidden="true">${KEYS[verdict]}</kbd>`}
        </button>`,
      )}
      <button
        type="button"
        class="quiet"
        disabled=${reading.recent.length === 0}
        aria-keyshortcuts=${isOn ? "z" : undefined}
        onClick=${onUndo}
      >
        ${t("screen.undo")} ${isOn && html` <kbd aria-hidden="true">z</kbd>`}
      </button>
    </div>
  `;
}

function Criteria({ screen }) {
  if (screen.criteria.length + screen.exclude.length === 0) {
    return html`<p class="hint">
      ${t("screen.criteria.none")} <a href=${link(["screens", screen.id, "settings"])}>${t("screen.criteria.add")}</a>
    </p>`;
  }
  const list = (key, texts) =>
    texts.length > 0 &&
    html`<h3>${t(key)}</h3><ul>${texts.map((text) => html`<li key=${text}>${text}</li>`)}</ul>`;
  return html`${list("screen.criteria.include", screen.criteria)} ${list("screen.criteria.exclude", screen.exclude)}`;
}

function Recent({ reading, onShow }) {
  if (reading.recent.length === 0) return html`<p class="hint">${t("screen.recent.none")}</p>`;
  return html`
    <ol class="recent-list">
      ${reading.recent.map(
        (each) => html`<li key=${each.event}>
          <button type="button" class="quiet" onClick=${() => onShow(each.record)}>
            <${Verdict} verdict=${each.verdict} /> <span class="recent-title">${each.title}</span>
          </button>
        </li>`,
      )}
    </ol>
  `;
}

/** The column beside the text; on a phone it folds. */
function Side({ screen, reading, onShow, isOn, onKeys }) {
  const isWide = matchMedia("(min-width: 900px)").matches;
  return html`
    <aside class="screen-side">
      <details open=${isWide}>
        <summary>${t("screen.criteria")}</summary>
        <${Criteria} screen=${screen} />
      </details>
      <details open=${isWide}>
        <summary>${t("screen.recent")}</summary>
        <${Recent} reading=${reading} onShow=${onShow} />
      </details>
      <details open=${isWide}>
        <summary>${t("screen.keys")}</summary>
        <${Tick} label=${t("screen.keys.on")} checked=${isOn} onChange=${onKeys} />
        ${isOn &&
        html`<dl class="keys">
          ${["i", "e", "u", "z", "n", "t", "1–9"].map(
            (key) => html`<div key=${key}><dt><kbd>${key}</kbd></dt><dd>${t(`screen.key.${key}`)}</dd></div>`,
          )}
        </dl>`}
      </details>
    </aside>
  `;
}

/** Brings another record into view and has its title read out, wherever the focus is. */
function useArrival(record) {
  const heading = useRef(null);
  const top = useRef(null);
  const last = useRef(null);
  useEffect(() => {
    if (record === null || last.current === record.record) return;
    const isFirst = last.current === null;
    last.current = record.record;
    if (isFirst) return;
    if (top.current.getBoundingClientRect().top < 0) top.current.scrollIntoView();
    // A button that was pressed keeps the focus: it stands where it stood. So does a field that somebody has entered since
    // the record was painted, or the next keys would not be text.
    if (document.activeElement?.closest(".decide, .fields") === null) heading.current.focus({ preventScroll: true });
    else announce(record.title);
  }, [record]);
  return { heading, top };
}

function NothingLeft({ screen, reading }) {
  if (reading.error || !reading.isExhausted) return html`<${Loading} />`;
  return html`<${Empty} title=${t("screen.all-read")}>
    <a class="button main" href=${link(["screens", screen.id, "progress"])}>${t("screen.to-progress")}</a>
  <//>`;
}

function Reader({ screen, reader, onReader, record }) {
  const reading = useReading(screen, reader, record);
  const [isOn, setOn] = useKeysChoice();
  const [isMarked, setMarked] = useState(readChoice("screen.marks") !== "off");
  const [ownTags, setOwnTags] = useState([]);
  const noteField = useRef(null);
  const tagField = useRef(null);
  const { current } = reading;
  const { heading, top } = useArrival(current);
  const known = [...new Set([...screen.tags, ...ownTags])];
  const decide = (verdict) => {
    noteField.current?.blur(); // saves what was typed
    reading.decide(verdict);
  };
  const undo = async () => {
    const last = await reading.undo();
    if (last) announce(t("screen.undone", { title: last.title }));
  };
  const tag = (tags) => {
    setOwnTags((before) => [...before, ...tags]);
    reading.tag(tags);
  };
  const mark = (on) => {
    keepChoice("screen.marks", on ? null : "off");
    setMarked(on);
  };
  const actions = { z: undo, n: () => noteField.current?.focus(), t: () => tagField.current?.focus() };
  VERDICTS.forEach((verdict) => (actions[KEYS[verdict]] = () => decide(verdict)));
  known.slice(0, 9).forEach((name, place) => {
    actions[String(place + 1)] = () => current && tag(toggled(current.tags, name));
  });
  useKeys(isOn, actions);
  return html`
    <div class="reader" ref=${top}>
      <div class="screen-main">
        <div class="screen-bar">
          <${Buttons} reading=${reading} isOn=${isOn} onDecide=${decide} onUndo=${undo} />
          <div class="bar-line">
            <${SaveState} screen=${screen} />
            <${WhoReads} screen=${screen} reader=${reader} onReader=${onReader} />
          </div>
        </div>
        <${ErrorNotice} error=${reading.error} retry=${() => reading.refill()} />
        ${current === null
          ? html`<${NothingLeft} screen=${screen} reading=${reading} />`
          : html`
              <div class="card">
                <${RecordText} record=${current} isMarked=${isMarked} heading=${heading} />
                <${Legend} record=${current} isMarked=${isMarked} onMarked=${mark} />
              </div>
              <div class="fields">
                <${NoteField} key=${current.record} record=${current} field=${noteField} onNote=${(text) => reading.note(text)} />
                <${TagField} record=${current} known=${known} field=${tagField} onTags=${tag} />
              </div>
            `}
      </div>
      <${Side} screen=${screen} reading=${reading} onShow=${(each) => reading.show(each)} isOn=${isOn} onKeys=${setOn} />
    </div>
  `;
}

function ReaderOf({ screen, record }) {
  const [reader, setReader] = useReader(screen);
  return html`<${Reader} key=${reader} screen=${screen} reader=${reader} onReader=${setReader} record=${record} />`;
}

/** The page. */
export function ReadPage({ id, query }) {
  const record = /^\d+$/.test(query.record ?? "") ? Number(query.record) : undefined;
  return html`<${ScreenPage} id=${id} current="">
    ${(screen) => html`<${ReaderOf} key=${record} screen=${screen} record=${record} />`}
  <//>`;
}
