// Keys that act without a button: they can be switched off (WCAG 2.1.4), and rest while somebody types.
import { useCallback, useEffect, useRef, useState } from "../vendor/preact.js";
import { keepChoice, readChoice } from "../core/kept.js";

const KEY = "screen.keys";

/** Whether keys act, and the function that switches them. */
export function useKeysChoice() {
  const [isOn, setOn] = useState(readChoice(KEY) !== "off");
  const choose = useCallback((on) => {
    keepChoice(KEY, on ? null : "off");
    setOn(on);
  }, []);
  return [isOn, choose];
}

/** Whether the keyboard belongs to something else now. */
function isElsewhere(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || event.repeat) return true;
  if (document.querySelector("dialog[open]") !== null) return true;
  const element = event.target;
  if (element.isContentEditable) return true;
  return element.matches("textarea, select, input:not([type=checkbox], [type=radio], [type=button])");
}

/**
 * Calls a function for each key.
 *
 * @param {boolean} isOn Whether keys act.
 * @param {Object<string, function(): void>} actions Functions by key.
 */
export function useKeys(isOn, actions) {
  const latest = useRef(actions);
  // Not by removing the listener, which would act until the effect runs.
  latest.current = isOn ? actions : {};
  useEffect(() => {
    const press = (event) => {
      const act = latest.current[event.key.toLowerCase()];
      if (act === undefined || isElsewhere(event)) return;
      event.preventDefault();
      act();
    };
    addEventListener("keydown", press);
    return () => removeEventListener("keydown", press);
  }, []);
}
