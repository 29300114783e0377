// Everything that the server has run.
import { html } from "../vendor/preact.js";
import { useApi } from "../core/api.js";
import { t } from "../core/i18n.js";
import { link } from "../core/router.js";
import { Empty, Loaded, Page } from "../parts/basics.js";
import { JobList } from "../parts/lists.js";

/** The list of jobs. */
export function JobsPage() {
  const jobs = useApi("/api/jobs", 3000);
  return html`
    <${Page} title=${t("jobs.title")} lead=${t("jobs.lead")}>
      <${Loaded} from=${jobs}>
        ${(data) =>
          data.jobs.length > 0
            ? html`<${JobList} jobs=${data.jobs} />`
            : html`<${Empty} title=${t("jobs.none")}>
                <a class="button" href=${link(["tables"], { for: "train" })}>${t("home.train")}</a>
              <//>`}
      <//>
    <//>
  `;
}
