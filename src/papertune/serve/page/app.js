// The frame of all pages: header, navigation, the page that the hash names.
import { html, render, useEffect, useErrorBoundary, useRef, useState } from "./vendor/preact.js";
import { announce, setRegion } from "./core/announce.js";
import { useApi } from "./core/api.js";
import { LANGUAGES, language, onLanguage, setLanguage, t } from "./core/i18n.js";
import { findPage, link, useHash } from "./core/router.js";
import { THEMES, setTheme, theme } from "./core/theme.js";
import { Empty, Notice, Page } from "./parts/basics.js";
import { routes } from "./routes.js";

const PARTS = ["tables", "runs", "jobs", "screens"];
const NAMES = { tables: "nav.tables", runs: "nav.runs", jobs: "nav.jobs", screens: "nav.screening" };

function Navigation({ current }) {
  return html`
    <nav class="main-nav" aria-label=${t("nav.main")}>
      ${PARTS.filter((part) => routes.some(([pattern]) => pattern === part)).map(
        (part) => html`<a key=${part} href=${link([part])} aria-current=${current === part ? "page" : undefined}>
          ${t(NAMES[part])}
        </a>`,
      )}
    </nav>
  `;
}

function Settings() {
  const [chosen, setChosen] = useState(theme());
  const choose = (name) => {
    setTheme(name);
    setChosen(name);
  };
  const other = Object.keys(LANGUAGES).find((name) => name !== language());
  return html`
    <div class="settings">
      <button type="button" lang=${other} onClick=${() => setLanguage(other)}>${LANGUAGES[other]}</button>
      <select
        aria-label=${t("settings.theme")}
        value=${chosen}
        onChange=${(event) => choose(event.currentTarget.value)}
      >
        ${THEMES.map((name) => html`<option key=${name} value=${name}>${t(`theme.${name}`)}</option>`)}
      </select>
    </div>
  `;
}

function Header({ current }) {
  return html`
    <header class="top">
      <div class="top-row">
        <a class="brand" href="#/" aria-current=${current === undefined ? "page" : undefined}>
          <img src="./icon.svg" alt="" width="28" height="28" />
          <span>papertune</span>
        </a>
        <${Navigation} current=${current} />
        <${Settings} />
      </div>
    </header>
  `;
}

function Missing() {
  return html`<${Page} title=${t("page.missing")}>
    <${Empty} title=${t("page.missing.text")}><a class="button" href="#/">${t("nav.home")}</a><//>
  <//>`;
}

/** Shows the page of the hash; a mistake in a page does not take the frame with it. */
function Current({ segments, query, session }) {
  const [error, reset] = useErrorBoundary();
  if (error) {
    return html`<${Page} title=${t("page.broken")}>
      <${Notice} level="error">${t("page.broken.text", { message: String(error.message ?? error) })}<//>
      <p><button type="button" onClick=${reset}>${t("do.retry")}</button></p>
    <//>`;
  }
  const found = findPage(routes, segments);
  if (found === null) return html`<${Missing} />`;
  const { page: Shown, parameters } = found;
  return html`<${Shown} ...${parameters} query=${query} session=${session} />`;
}

/** Reports that the server is away, and that it is there again. */
function useServerState() {
  const health = useApi("/health", 5000);
  const isAway = health.error?.status === 0;
  const wasAway = useRef(false);
  useEffect(() => {
    if (isAway) announce(t("server.away"));
    else if (wasAway.current) announce(t("server.back"));
    wasAway.current = isAway;
  }, [isAway]);
  return isAway;
}

function App() {
  const [, paint] = useState(0);
  useEffect(() => onLanguage(() => paint((round) => round + 1)), []);
  const { segments, query } = useHash();
  const session = useApi("/api/session");
  const isAway = useServerState();
  const region = useRef(null);
  useEffect(() => setRegion(region.current), []);
  return html`
    <a class="skip" href="#main" onClick=${skip}>${t("page.skip")}</a>
    <${Header} current=${segments[0]} />
    ${isAway && html`<div class="away" role="status">${t("server.away")}</div>`}
    <main id="main" tabindex="-1">
      ${session.error && session.error.status !== 0 && html`<${Notice} level="error">${session.error.message}<//>`}
      <${Current} key=${segments.join("/")} segments=${segments} query=${query} session=${session.data} />
    </main>
    <footer class="foot">
      ${session.data && html`<span>papertune ${session.data.version}</span><span>${session.data.work}</span>`}
      <a href="/docs/">API</a>
    </footer>
    <div class="hidden" role="status" aria-live="polite" ref=${region}></div>
  `;
}

// The hash names the page, so the link must not change it.
function skip(event) {
  event.preventDefault();
  document.getElementById("main").focus();
}

const root = document.getElementById("app");
root.replaceChildren();
render(html`<${App} />`, root);
