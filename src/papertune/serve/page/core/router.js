// The URL's hash names the page: #/tables/ID/recipe?name=value.
import { useEffect, useState } from "../vendor/preact.js";

/** Reads a hash into path segments and a query. */
export function readHash(hash) {
  const [path, query = ""] = hash.replace(/^#\/?/, "").split("?");
  const segments = path.split("/").filter(Boolean).map(decode);
  return { segments, query: Object.fromEntries(new URLSearchParams(query)) };
}

// A hash typed by hand may hold a lone %.
function decode(segment) {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
}

/** Returns the hash of a page, with each part encoded: link(["tables", id], {format: "csv"}). */
export function link(segments, query = {}) {
  const path = segments.map(encodeURIComponent).join("/");
  const text = new URLSearchParams(query).toString();
  return `#/${path}${text ? `?${text}` : ""}`;
}

/** Opens a page. */
export function go(segments, query = {}) {
  location.hash = link(segments, query);
}

/**
 * Finds the page of a hash.
 *
 * @param {Array} routes Pairs of a pattern, such as "tables/:id/recipe", and a component.
 * @param {string[]} segments The path.
 * @returns {{page: Function, parameters: Object}|null} null if there is no such page.
 */
export function findPage(routes, segments) {
  for (const [pattern, page] of routes) {
    const names = pattern.split("/").filter(Boolean);
    if (names.length !== segments.length) continue;
    const fits = names.every((name, place) => name.startsWith(":") || name === segments[place]);
    if (!fits) continue;
    const parameters = {};
    names.forEach((name, place) => {
      if (name.startsWith(":")) parameters[name.slice(1)] = segments[place];
    });
    return { page, parameters };
  }
  return null;
}

/** Returns the current path and query, and follows the hash. */
export function useHash() {
  const [hash, setHash] = useState(location.hash);
  useEffect(() => {
    const follow = () => setHash(location.hash);
    addEventListener("hashchange", follow);
    return () => removeEventListener("hashchange", follow);
  }, []);
  return readHash(hash);
}
