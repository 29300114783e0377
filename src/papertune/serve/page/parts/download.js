// A table as a file, in any format.
import { html, useState } from "../vendor/preact.js";
import { apiPath } from "../core/api.js";
import { t } from "../core/i18n.js";
import { useId } from "./basics.js";

const FORMATS = ["xlsx", "csv", "csv-spreadsheet", "tsv", "jsonl", "json", "parquet"];

/** Chooses a format and downloads a table; with corrections, if it has some. */
export function Download({ table }) {
  const [format, setFormat] = useState("xlsx");
  const id = useId();
  const query = new URLSearchParams({ format, corrected: "true" });
  return html`
    <div class="download">
      <label for=${id}>${t("download.as")}</label>
      <select id=${id} value=${format} onChange=${(event) => setFormat(event.currentTarget.value)}>
        ${FORMATS.map((name) => html`<option key=${name} value=${name}>${t(`download.${name}`)}</option>`)}
      </select>
      <a class="button" href=${`${apiPath("tables", table.id, "download")}?${query}`} download>${t("download.get")}</a>
    </div>
  `;
}
