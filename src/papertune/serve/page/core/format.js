// Numbers, dates and durations as the page writes them.
import { languageTag, t } from "./i18n.js";

/** Returns a number in at most three significant digits after the integer part. */
export function number(value, digits = 3) {
  if (typeof value !== "number" || !Number.isFinite(value)) return "–";
  return value.toLocaleString(languageTag(), { maximumFractionDigits: digits });
}

/** Returns a share (0 to 1) as a whole percentage. */
export const percent = (share) => share.toLocaleString(languageTag(), { style: "percent", maximumFractionDigits: 0 });

/** Returns a duration in words, for example "3 min 20 s". */
export function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return t("time.s", { s: whole });
  if (whole < 3600) return t("time.min", { m: Math.floor(whole / 60), s: whole % 60 });
  return t("time.h", { h: Math.floor(whole / 3600), m: Math.floor((whole % 3600) / 60) });
}

/** Returns a moment, given as ISO 8601 text or seconds since 1970, as a short local date and time. */
export function moment(value) {
  const date = typeof value === "number" ? new Date(value * 1000) : new Date(value);
  if (Number.isNaN(date.getTime())) return "";
  return date.toLocaleString(languageTag(), { dateStyle: "medium", timeStyle: "short" });
}

/** Returns text, cut after some characters with an ellipsis. */
export function shorten(text, length = 160) {
  const characters = Array.from(text ?? "");
  return characters.length <= length ? characters.join("") : `${characters.slice(0, length).join("").trimEnd()}…`;
}
