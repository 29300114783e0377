// Requests to the server. Each failure is an ApiError with the server's own message.
import { useCallback, useEffect, useRef, useState } from "../vendor/preact.js";
import { errorText, t } from "./i18n.js";

/**
 * What the server refused, or that it did not answer (status 0).
 *
 * @property {string} message In the language that the page has when it is read.
 */
export class ApiError extends Error {
  /**
   * @param {number} status The status of the answer.
   * @param {string} code What went wrong, for programs.
   * @param {string|null} text The server's own sentence; null: the page has one for this code.
   * @param {Object} about `where`, and `params`: what the sentence is about, by name.
   */
  constructor(status, code, text = null, { where = null, params = {} } = {}) {
    super();
    this.status = status;
    this.code = code;
    this.text = text;
    this.where = where;
    this.params = params;
  }

  get message() {
    const { status, code, text, where, params } = this;
    if (text === null) return t(`error.${code}`, { status: String(status) });
    return errorText(code, text, { where, ...params });
  }
}

/** Makes an ApiError of an answer's status and text. */
export function readError(status, text) {
  if (status === 401) return new ApiError(status, "unauthorized");
  try {
    const { message, code, where, param, params } = JSON.parse(text).error;
    return new ApiError(status, code, message, { where: where ?? param, params });
  } catch {
    return new ApiError(status, "unknown");
  }
}

export const unreachable = () => new ApiError(0, "unreachable");

/**
 * Sends a request and returns the JSON of its answer.
 *
 * @param {string} method The HTTP method.
 * @param {string} path For example "/api/tables".
 * @param {*} body Is sent as JSON, if it is given.
 * @param {AbortSignal} signal Cancels the request.
 */
export async function request(method, path, body = undefined, signal = undefined) {
  const settings = { method, signal, headers: { Accept: "application/json" }, credentials: "same-origin" };
  if (body !== undefined) {
    settings.body = JSON.stringify(body);
    settings.headers["Content-Type"] = "application/json";
  }
  let answer;
  try {
    answer = await fetch(path, settings);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw unreachable();
  }
  const text = await answer.text();
  if (!answer.ok) throw readError(answer.status, text);
  return text === "" ? null : JSON.parse(text);
}

export const get = (path, signal) => request("GET", path, undefined, signal);
export const post = (path, body, signal) => request("POST", path, body ?? {}, signal);
export const patch = (path, body) => request("PATCH", path, body);
export const remove = (path) => request("DELETE", path);

/** Returns a path below /api with each part encoded: apiPath("tables", id, "rows"). */
export const apiPath = (...parts) => `/api/${parts.map(encodeURIComponent).join("/")}`;

/** Returns an id for an event or a correction. The server takes each id once, so a retry is safe. */
export function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * Loads something from the server for a component.
 *
 * @param {string|null} path What to load; null: nothing.
 * @param {number} every Milliseconds after which it is loaded anew; 0: never. What was loaded stays in view meanwhile.
 * @returns {{data: *, error: ApiError|null, reload: function(): void}} data is null until it is there.
 */
export function useApi(path, every = 0) {
  const [state, setState] = useState({ path, data: null, error: null });
  const [round, setRound] = useState(0);
  const timer = useRef(0);
  useEffect(() => {
    if (path === null) return undefined;
    const stop = new AbortController();
    const load = async () => {
      try {
        const data = await get(path, stop.signal);
        setState({ path, data, error: null });
      } catch (error) {
        if (stop.signal.aborted) return;
        if (!(error instanceof ApiError)) throw error;
        setState((before) => ({ path, data: before.path === path ? before.data : null, error }));
      }
      if (every > 0 && !stop.signal.aborted) timer.current = setTimeout(load, every);
    };
    load();
    return () => {
      stop.abort();
      clearTimeout(timer.current);
    };
  }, [path, every, round]);
  const reload = useCallback(() => setRound((before) => before + 1), []);
  // After a change of path, the old answer is not shown for one more frame.
  const fresh = state.path === path;
  return { data: fresh ? state.data : null, error: fresh ? state.error : null, reload };
}

/**
 * Sends a file with progress, which fetch cannot report.
 *
 * @param {string} path Where the file is put.
 * @param {File} file The file.
 * @param {function(number): void} onShare Gets the share that is sent, from 0 to 1.
 * @param {AbortSignal} signal Cancels the upload.
 */
export function putFile(path, file, onShare, signal) {
  return new Promise((resolve, reject) => {
    const sending = new XMLHttpRequest();
    sending.open("PUT", path);
    sending.setRequestHeader("Content-Type", "application/octet-stream");
    sending.upload.onprogress = (event) => event.lengthComputable && onShare(event.loaded / event.total);
    sending.onload = () => {
      if (sending.status >= 200 && sending.status < 300) resolve(JSON.parse(sending.responseText));
      else reject(readError(sending.status, sending.responseText));
    };
    sending.onerror = () => reject(unreachable());
    sending.onabort = () => reject(new DOMException("cancelled", "AbortError"));
    signal?.addEventListener("abort", () => sending.abort());
    sending.send(file);
  });
}
