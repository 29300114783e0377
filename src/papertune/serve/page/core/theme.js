// Light, dark, or as the system has it. `paint.js` reads the choice before the first paint.
import { keepChoice, readChoice } from "./kept.js";

export const THEMES = ["system", "light", "dark"];

/** Returns the chosen theme. */
export function theme() {
  const chosen = readChoice("theme");
  return THEMES.includes(chosen) ? chosen : "system";
}

/** Changes the theme, and remembers it. */
export function setTheme(name) {
  keepChoice("theme", name === "system" ? null : name);
  if (name === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = name;
}
