// What the browser remembers: choices (localStorage) and half-filled forms of this tab (sessionStorage).
import { useCallback, useState } from "../vendor/preact.js";

const PREFIX = "papertune.";

function read(storage, key, otherwise) {
  try {
    const text = storage().getItem(PREFIX + key);
    return text === null ? otherwise : JSON.parse(text);
  } catch {
    return otherwise;
  }
}

function write(storage, key, value) {
  try {
    if (value === undefined) storage().removeItem(PREFIX + key);
    else storage().setItem(PREFIX + key, JSON.stringify(value));
  } catch {
    // Private windows and full storage: the page works, it only forgets.
  }
}

// Access to a storage can itself raise, so it happens inside of try.
const session = () => sessionStorage;

/** Reads a value that belongs to this tab. */
export const readDraft = (key, otherwise) => read(session, key, otherwise);

/** Keeps a value for this tab; undefined removes it. */
export const keepDraft = (key, value) => write(session, key, value);

/** Reads a text that is kept for all tabs. */
export function readChoice(key) {
  try {
    return localStorage.getItem(PREFIX + key);
  } catch {
    return null;
  }
}

/** Keeps a text for all tabs; null removes it. */
export function keepChoice(key, text) {
  try {
    if (text === null) localStorage.removeItem(PREFIX + key);
    else localStorage.setItem(PREFIX + key, text);
  } catch {
    // As above.
  }
}

/**
 * State that survives a refresh of this tab.
 *
 * @param {string} key Names the draft. A component that is shown for another key needs a new
 *   `key` prop.
 * @param {*} initial The value if nothing is kept.
 * @returns {[*, function(*): void, function(): void]} The value, its setter and a function that forgets the draft.
 */
export function useDraft(key, initial) {
  const [value, setValue] = useState(() => readDraft(key, initial));
  const set = useCallback(
    (next) =>
      setValue((before) => {
        const after = typeof next === "function" ? next(before) : next;
        keepDraft(key, after);
        return after;
      }),
    [key],
  );
  const forget = useCallback(() => keepDraft(key, undefined), [key]);
  return [value, set, forget];
}
