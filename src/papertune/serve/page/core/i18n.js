// The page's language: one dictionary a language, with equal keys (compared by tests).
import en from "../words/en.js";
import errorsZh from "../words/errors.zh.js";
import messagesZh from "../words/messages.zh.js";
import screenEn from "../words/screen.en.js";
import screenZh from "../words/screen.zh.js";
import settingsZh from "../words/settings.zh.js";
import zh from "../words/zh.js";
import { keepChoice, readChoice } from "./kept.js";

const DICTIONARIES = { en: { ...en, ...screenEn }, zh: { ...zh, ...screenZh } };
const TAGS = { en: "en", zh: "zh-CN" };

/** The languages, each with its own name for itself. */
export const LANGUAGES = { en: "English", zh: "中文" };

function firstLanguage() {
  const chosen = readChoice("language");
  if (chosen in LANGUAGES) return chosen;
  return (navigator.language ?? "").toLowerCase().startsWith("zh") ? "zh" : "en";
}

let current = firstLanguage();
let changed = () => {};
document.documentElement.lang = TAGS[current];

/** Returns the current language, "en" or "zh". */
export const language = () => current;

/** Returns the current language as a BCP 47 tag, for Intl. */
export const languageTag = () => TAGS[current];

/** Changes the language, and remembers it. */
export function setLanguage(name) {
  current = name;
  keepChoice("language", name);
  document.documentElement.lang = TAGS[name];
  changed();
}

/** Sets the function that paints the page anew after a change of language. */
export function onLanguage(paint) {
  changed = paint;
}

// {name} is a value; {name|row|rows} is the first form for 1 and the second for all other numbers.
const PLACE = /\{(\w+)(?:\|([^|}]*)\|([^}]*))?\}/g;

/** Returns what a setting of a recipe is for: the recipe's own words in English, translated ones in other languages. */
export function settingText(name, description = "") {
  return current === "zh" ? (settingsZh[name] ?? description) : description;
}

/**
 * Returns what the server refused: its own sentence in English, the one for the code in other languages.
 *
 * @param {string} code What went wrong.
 * @param {string} message The server's sentence; it stands as it is where a code has none, or needs what is not there.
 * @param {Object} values What the sentence is about, by name.
 */
export function errorText(code, message, values = {}) {
  if (current !== "zh") return message;
  const text = errorsZh[`${code}.${values.what ?? values.problem}`] ?? errorsZh[code];
  if (text === undefined) return message;
  const all = { message, ...values };
  // Of a job, in the page's words.
  for (const name of ["kind", "state"]) if (hasWord(`job.${name}.${all[name]}`)) all[name] = t(`job.${name}.${all[name]}`);
  const isComplete = [...text.matchAll(PLACE)].every(([, name]) => (all[name] ?? null) !== null);
  return isComplete ? filled(text, all) : message;
}

/**
 * Returns what a command of papertune has said, in the page's language; null where only its own English sentence has it.
 *
 * @param {string|null} code What was said; null: it has no code.
 * @param {Object} values The values in it, by name.
 */
export function saidText(code, values = {}) {
  const text = current === "zh" ? messagesZh[code ?? ""] : undefined;
  if (text === undefined) return null;
  const isComplete = [...text.matchAll(PLACE)].every(([, name]) => (values[name] ?? null) !== null);
  return isComplete ? filled(text, values) : null;
}

/** Whether the dictionaries have this key. */
export const hasWord = (key) => key in DICTIONARIES[current];

/**
 * Returns a text in the current language.
 *
 * @param {string} key A key of the dictionaries.
 * @param {Object} values What stands for the names in braces; numbers are written as the language does.
 */
export function t(key, values = {}) {
  const text = DICTIONARIES[current][key];
  return text === undefined ? key : filled(text, values);
}

function filled(text, values) {
  return text.replace(PLACE, (whole, name, one, other) => {
    const value = values[name];
    if (one !== undefined) return value === 1 ? one : other;
    return typeof value === "number" ? value.toLocaleString(languageTag()) : String(value ?? "");
  });
}
