// A place where a file is dropped or chosen, with the progress of its way to the server.
import { html, useRef, useState } from "../vendor/preact.js";
import { putFile } from "../core/api.js";
import { announce } from "../core/announce.js";
import { percent } from "../core/format.js";
import { t } from "../core/i18n.js";
import { ErrorNotice, Progress } from "./basics.js";

/** Sends one file after the other; returns what the place shows. */
function useUpload(onTable) {
  const [state, setState] = useState({ name: null, share: 0, error: null });
  const stop = useRef(null);
  const send = async (file) => {
    stop.current = new AbortController();
    setState({ name: file.name, share: 0, error: null });
    const path = `/api/tables?name=${encodeURIComponent(file.name)}`;
    const report = (share) => setState({ name: file.name, share, error: null });
    try {
      const table = await putFile(path, file, report, stop.current.signal);
      setState({ name: null, share: 0, error: null });
      announce(t("upload.done", { name: table.name, rows: table.rows }));
      onTable(table);
    } catch (error) {
      setState({ name: null, share: 0, error: error.name === "AbortError" ? null : error });
    }
  };
  return { state, send, cancel: () => stop.current?.abort() };
}

/**
 * The place for a file.
 *
 * @param {function(Object): void} onTable Gets the table, as the server describes it, when it is there.
 */
export function Upload({ onTable, hint }) {
  const { state, send, cancel } = useUpload(onTable);
  const [isOver, setOver] = useState(false);
  const drop = (event) => {
    event.preventDefault();
    setOver(false);
    const [file] = event.dataTransfer.files;
    if (file && state.name === null) send(file);
  };
  const choose = (event) => {
    const [file] = event.currentTarget.files;
    event.currentTarget.value = "";
    if (file) send(file);
  };
  if (state.name !== null) {
    const isSent = state.share >= 1;
    return html`
      <div class="upload busy" role="status">
        <p>${t(isSent ? "upload.reading" : "upload.sending", { name: state.name, share: percent(state.share) })}</p>
        <${Progress} share=${isSent ? null : state.share} label=${t("upload.progress")} />
        <button type="button" class="quiet" onClick=${cancel}>${t("do.cancel")}</button>
      </div>
    `;
  }
  return html`
    <${ErrorNotice} error=${state.error} />
    <label
      class=${isOver ? "upload over" : "upload"}
      onDragOver=${(event) => {
        event.preventDefault();
        setOver(true);
      }}
      onDragLeave=${() => setOver(false)}
      onDrop=${drop}
    >
      <input type="file" class="hidden" onChange=${choose} />
      <span class="upload-title">${t("upload.drop")} <span class="like-link">${t("upload.choose")}</span></span>
      <span class="hint">${hint ?? t("upload.formats")}</span>
    </label>
  `;
}
