// A small line chart as SVG, with its numbers as a table for those who do not see it.
import { html } from "../vendor/preact.js";
import { number } from "../core/format.js";
import { t } from "../core/i18n.js";

const HEIGHT = 240;
const EDGE = { left: 52, right: 14, top: 12, bottom: 42 };
const MAX_POINTS = 400;

/** The width of a chart in its own units, narrower on a phone, so that its numbers stay readable, and its marks below. */
const shape = () => (innerWidth <= 640 ? { width: 340, marks: 4 } : { width: 640, marks: 6 });

/**
 * Returns round values between two numbers, about as many as wanted.
 *
 * The step is 1, 2 or 5 times a power of ten.
 */
export function ticks(lowest, highest, wanted = 4) {
  const span = highest - lowest || Math.abs(highest) || 1;
  const power = 10 ** Math.floor(Math.log10(span / wanted));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((each) => span / each <= wanted + 1);
  const first = Math.ceil(lowest / step - 1e-9);
  const last = Math.floor(highest / step + 1e-9);
  return Array.from({ length: last - first + 1 }, (_, place) => Number(((first + place) * step).toPrecision(12)));
}

/** Returns at most `MAX_POINTS` points of a long line: always the first and the last, else means of equal shares. */
export function thin(points) {
  if (points.length <= MAX_POINTS) return points;
  const inner = points.slice(1, -1);
  const size = inner.length / (MAX_POINTS - 2);
  const means = Array.from({ length: MAX_POINTS - 2 }, (_, place) => {
    const share = inner.slice(Math.floor(place * size), Math.max(Math.floor((place + 1) * size), Math.floor(place * size) + 1));
    const mean = (axis) => share.reduce((sum, point) => sum + point[axis], 0) / share.length;
    return [mean(0), mean(1)];
  });
  return [points[0], ...means, points.at(-1)];
}

/** Returns the limits of an axis: those of the values, at least a little apart. */
function limits(values) {
  const lowest = Math.min(...values);
  const highest = Math.max(...values);
  const room = highest === lowest ? Math.max(Math.abs(highest) * 0.1, 1e-6) : (highest - lowest) * 0.05;
  return [lowest - room, highest + room];
}

function scale([lowest, highest], from, to) {
  return (value) => from + ((value - lowest) / (highest - lowest)) * (to - from);
}

function Axes({ across, up, x, y, xLabel, width, marks }) {
  return html`
    <g class="axes">
      ${ticks(...up).map(
        (value) => html`<g key=${`y${value}`}>
          <line x1=${EDGE.left} x2=${width - EDGE.right} y1=${y(value)} y2=${y(value)} />
          <text x=${EDGE.left - 8} y=${y(value) + 4} text-anchor="end">${number(value, 4)}</text>
        </g>`,
      )}
      ${ticks(...across, marks).map(
        (value) =>
          html`<text key=${`x${value}`} x=${x(value)} y=${HEIGHT - EDGE.bottom + 18} text-anchor="middle">
            ${number(value)}
          </text>`,
      )}
      <text x=${width - EDGE.right} y=${HEIGHT - 4} text-anchor="end">${xLabel}</text>
    </g>
  `;
}

function Line({ points, x, y }) {
  const path = thin(points).map(([a, b], at) => `${at ? "L" : "M"}${x(a).toFixed(1)} ${y(b).toFixed(1)}`).join("");
  const [lastX, lastY] = points.at(-1);
  return html`
    <g class="series">
      <path d=${path} />
      ${points.length <= 40 && points.map(([a, b]) => html`<circle cx=${x(a)} cy=${y(b)} r="2.5" />`)}
      <circle cx=${x(lastX)} cy=${y(lastY)} r="4" />
    </g>
  `;
}

function Numbers({ series, xLabel }) {
  const rows = series.flatMap(({ name, points }) => thin(points).map(([x, y]) => [name, x, y]));
  return html`
    <details class="numbers">
      <summary>${t("chart.numbers")}</summary>
      <div class="scroll" role="region" aria-label=${t("chart.numbers")} tabindex="0">
        <table>
          <thead>
            <tr><th scope="col">${t("chart.line")}</th><th scope="col">${xLabel}</th><th scope="col">${t("chart.value")}</th></tr>
          </thead>
          <tbody>
            ${rows.map(([name, x, y]) => html`<tr><td>${name}</td><td>${number(x)}</td><td>${number(y, 5)}</td></tr>`)}
          </tbody>
        </table>
      </div>
    </details>
  `;
}

/**
 * Lines over a common axis.
 *
 * @param {string} label What the chart shows.
 * @param {string} xLabel The name of the axis below.
 * @param {Array<{name: string, points: Array<[number, number]>}>} series The lines; those without points are left out.
 */
export function LineChart({ label, xLabel, series }) {
  const lines = series.filter((each) => each.points.length > 0);
  if (lines.length === 0) return null;
  const points = lines.flatMap((each) => each.points);
  const across = limits(points.map((point) => point[0]));
  const up = limits(points.map((point) => point[1]));
  const { width, marks } = shape();
  const x = scale(across, EDGE.left, width - EDGE.right);
  const y = scale(up, HEIGHT - EDGE.bottom, EDGE.top);
  const last = lines.map((each) => `${each.name}: ${number(each.points.at(-1)[1], 4)}`).join("; ");
  return html`
    <figure class="chart">
      <figcaption>
        <span class="chart-title">${label}</span>
        ${lines.map(
          (each) => html`<span key=${each.name} class="legend">
            ${each.name} <b>${number(each.points.at(-1)[1], 4)}</b>
          </span>`,
        )}
      </figcaption>
      <svg viewBox=${`0 0 ${width} ${HEIGHT}`} role="img" aria-label=${`${label}. ${last}`}>
        <${Axes} ...${{ across, up, x, y, xLabel, width, marks }} />
        ${lines.map((each) => html`<${Line} key=${each.name} points=${each.points} x=${x} y=${y} />`)}
      </svg>
      <${Numbers} series=${lines} xLabel=${xLabel} />
    </figure>
  `;
}
