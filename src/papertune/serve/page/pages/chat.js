// A conversation with a run: its columns answer for a paper, or the model chats.
import { html, useEffect, useRef, useState } from "../vendor/preact.js";
import { announce } from "../core/announce.js";
import { apiPath, useApi } from "../core/api.js";
import { ask } from "../core/chat.js";
import { t } from "../core/i18n.js";
import { useDraft } from "../core/kept.js";
import { link } from "../core/router.js";
import { ErrorNotice, Field, Loaded, Page } from "../parts/basics.js";

/** Returns the columns of an answer that is a JSON object of texts, else null. */
function cellsOf(text) {
  try {
    const value = JSON.parse(text);
    return value !== null && typeof value === "object" && !Array.isArray(value) ? Object.entries(value) : null;
  } catch {
    return null;
  }
}

/** Returns what the page calls a model: what is asked for. */
function titleOf(model, run) {
  if (model === run) return t("chat.free");
  const column = model.slice(run.length + 1);
  return column === "*" ? t("chat.all") : column;
}

function Message({ message, run }) {
  const cells = message.role === "assistant" ? cellsOf(message.content) : null;
  return html`
    <li class=${`message ${message.role}`}>
      <p class="hint">${message.role === "user" ? t("chat.you") : titleOf(message.model, run)}</p>
      ${cells
        ? html`<dl class="facts">
            ${cells.map(
              ([name, value]) => html`<div key=${name}>
                <dt>${name}</dt>
                <dd>${typeof value === "string" ? value || "–" : JSON.stringify(value)}</dd>
              </div>`,
            )}
          </dl>`
        : html`<p class="said">${message.content}</p>`}
      ${message.isStopped && html`<p class="hint">${t("chat.stopped")}</p>`}
    </li>
  `;
}

/** Sends messages and collects answers; what is being said now is not in the conversation yet. */
function useConversation(messages, setMessages) {
  const [state, setState] = useState({ now: null, error: null });
  const stop = useRef(null);
  useEffect(() => () => stop.current?.abort(), []);
  const say = async (model, content) => {
    const asked = { role: "user", content };
    // The columns of a run read the last message only; a chat reads the whole conversation with the same model.
    const before = messages.filter((message) => message.model === model || message.to === model);
    const sent = model.includes(":") ? [asked] : [...before, asked].map(({ role, content: text }) => ({ role, content: text }));
    stop.current = new AbortController();
    setMessages((all) => [...all, { ...asked, to: model }]);
    setState({ now: { role: "assistant", model, content: "" }, error: null });
    let text = "";
    let isStopped = false;
    let error = null;
    try {
      for await (const piece of ask(model, sent, stop.current.signal)) {
        text += piece;
        setState({ now: { role: "assistant", model, content: text }, error: null });
      }
    } catch (caught) {
      if (caught.name === "AbortError") isStopped = true;
      else error = caught;
    }
    if (text || (!error && !isStopped)) {
      setMessages((all) => [...all, { role: "assistant", model, content: text, isStopped }]);
      announce(text);
    }
    setState({ now: null, error });
  };
  return { ...state, say, stop: () => stop.current?.abort() };
}

function Conversation({ run, draft, setDraft }) {
  const setMessages = (change) => setDraft((before) => ({ ...before, messages: change(before.messages) }));
  const { now, error, say, stop } = useConversation(draft.messages, setMessages);
  const model = draft.model ?? `${run.name}:*`;
  const models = [`${run.name}:*`, ...run.columns.map((column) => `${run.name}:${column.name}`), run.name];
  const send = () => {
    const text = draft.text.trim();
    if (text === "" || now !== null) return;
    setDraft((before) => ({ ...before, text: "" }));
    say(model, text);
  };
  const onKeyDown = (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) send();
  };
  return html`
    ${(draft.messages.length > 0 || now) &&
    html`<ol class="conversation" aria-label=${t("chat.conversation")}>
      ${draft.messages.map((message, place) => html`<${Message} key=${place} message=${message} run=${run.name} />`)}
      ${now && html`<${Message} message=${{ ...now, content: now.content || "…" }} run=${run.name} />`}
    </ol>`}
    <${ErrorNotice} error=${error} />
    <form
      class="card"
      onSubmit=${(event) => {
        event.preventDefault();
        send();
      }}
    >
      <${Field} label=${t("chat.ask")} hint=${t(model === run.name ? "chat.free.hint" : "chat.columns.hint")}>
        ${(attributes) => html`
          <select
            ...${attributes}
            value=${model}
            onChange=${(event) => setDraft((before) => ({ ...before, model: event.currentTarget.value }))}
          >
            ${models.map((each) => html`<option key=${each} value=${each}>${titleOf(each, run.name)}</option>`)}
          </select>
        `}
      <//>
      <${Field} label=${t(model === run.name ? "chat.message" : "chat.document")} hint=${t("chat.keys")}>
        ${(attributes) => html`
          <textarea
            ...${attributes}
            rows="4"
            value=${draft.text}
            onInput=${(event) => setDraft((before) => ({ ...before, text: event.currentTarget.value }))}
            onKeyDown=${onKeyDown}
          ></textarea>
        `}
      <//>
      <div class="actions">
        ${now === null
          ? html`<button type="submit" class="main" disabled=${draft.text.trim() === ""}>${t("chat.send")}</button>`
          : html`<button type="button" onClick=${stop}>${t("chat.stop")}</button>`}
        ${draft.messages.length > 0 &&
        now === null &&
        html`<button type="button" class="quiet" onClick=${() => setMessages(() => [])}>${t("chat.clear")}</button>`}
      </div>
    </form>
  `;
}

/** The page of a conversation with a run. */
export function ChatPage({ name }) {
  const run = useApi(apiPath("runs", name));
  const [draft, setDraft] = useDraft(`chat.${name}`, { messages: [], text: "", model: null });
  const crumbs = [
    [t("nav.runs"), link(["runs"])],
    [name, link(["runs", name])],
  ];
  return html`
    <${Page} title=${t("chat.title", { name })} crumbs=${crumbs} lead=${t("chat.lead")}>
      <${Loaded} from=${run}>
        ${(data) => html`<${Conversation} run=${data} draft=${draft} setDraft=${setDraft} />`}
      <//>
    <//>
  `;
}
