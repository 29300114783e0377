// The two curves of a training.
import { html } from "../vendor/preact.js";
import { number } from "../core/format.js";
import { t } from "../core/i18n.js";
import { LineChart } from "./chart.js";

/**
 * The loss while training, and the dev score by which the checkpoint is chosen.
 *
 * @param {Array<[number, number]>} losses Steps with their losses.
 * @param {Array<[number, number]>} scores Steps with their dev scores.
 */
export function Curves({ losses, scores }) {
  if (losses.length + scores.length === 0) return null;
  const best = number(Math.max(...scores.map((point) => point[1])), 4);
  return html`
    <div class="cards charts">
      <${LineChart} label=${t("job.loss")} xLabel=${t("job.step")} series=${[{ name: t("job.loss.name"), points: losses }]} />
      <${LineChart}
        label=${t("job.dev.best", { score: best })}
        xLabel=${t("job.step")}
        series=${[{ name: t("job.dev.name"), points: scores }]}
      />
    </div>
  `;
}
