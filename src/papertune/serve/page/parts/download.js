// A table as a file, in any format.
import { html, useState } from "../vendor/preact.js";
import { apiPath } from "../core/api.js";
import { t } from "../core/i18n.js";
import { useId } from "./basics.js";

const FORMATS = ["xlsx", "csv", "csv-spreadsheet", "tsv", "jsonl", "json", "parquet"];

/**
 * A file in a format that is chosen.
 *
 * @param {string} path Where the server has it.
 * @param {Object} query What the path needs beside the format.
 * @param {string[]} more Formats beside those of every table.
 * @param {*} children Further choices.
 */
export function DownloadAs({ path, query, more = [], children }) {
  const [format, setFormat] = useState("xlsx");
  const id = useId();
  return html`
    <div class="download">
      <label for=${id}>${t("download.as")}</label>
      <select id=${id} value=${format} onChange=${(event) => setFormat(event.currentTarget.value)}>
        ${[...FORMATS, ...more].map((name) => html`<option key=${name} value=${name}>${t(`download.${name}`)}</option>`)}
      </select>
      ${children}
      <a class="button" href=${`${path}?${new URLSearchParams({ format, ...query })}`} download>${t("download.get")}</a>
    </div>
  `;
}

/** A table as a file; with corrections, if it has some. */
export const Download = ({ table }) =>
  html`<${DownloadAs} path=${apiPath("tables", table.id, "download")} query=${{ corrected: "true" }} />`;
