// The check of a recipe that is being edited, and its text.
import { useEffect, useState } from "../../vendor/preact.js";
import { post } from "../../core/api.js";

const PAUSE_MS = 500;

/**
 * Checks a recipe against a table whenever the person pauses.
 *
 * @returns {{checked: Object|null, toml: string|null, error: Error|null, isRunning: boolean}} The last result stays
 *   until there is a new one.
 */
export function useChecked(table, recipe) {
  const [state, setState] = useState({ checked: null, toml: null, error: null, isRunning: true });
  const text = JSON.stringify(recipe);
  useEffect(() => {
    const stop = new AbortController();
    setState((before) => ({ ...before, isRunning: true }));
    const check = async () => {
      try {
        const { toml } = await post("/api/recipes/toml", { recipe }, stop.signal);
        setState((before) => ({ ...before, toml, error: null }));
        const checked = await post("/api/recipes/check", { table, recipe, purpose: "train" }, stop.signal);
        setState({ checked, toml, error: null, isRunning: false });
      } catch (error) {
        if (error.name !== "AbortError") setState((before) => ({ ...before, checked: null, error, isRunning: false }));
      }
    };
    const timer = setTimeout(check, PAUSE_MS);
    return () => {
      clearTimeout(timer);
      stop.abort();
    };
  }, [table, text]);
  return state;
}
