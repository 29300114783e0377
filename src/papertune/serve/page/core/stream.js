// The events of a job, as the server sends them: all from the beginning, then the new ones.
import { useEffect, useState } from "../vendor/preact.js";
import { apiPath } from "./api.js";

const KINDS = ["progress", "loss", "dev", "message", "end"];
const NOTHING = { progress: null, losses: [], scores: {}, messages: [], end: null };

/** Returns what is known about a job after some more events, pairs of kind and content. */
export function follow(before, events) {
  const after = { ...before };
  const losses = [];
  const scores = {};
  for (const [kind, data] of events) {
    if (kind === "progress") after.progress = data;
    else if (kind === "loss") losses.push([data.step, data.loss]);
    else if (kind === "dev") {
      (scores[data.name] ??= []).push([data.step, data.score]);
    } else if (kind === "message") after.messages = [...after.messages, data];
    else after.end = data;
  }
  after.losses = addPoints(before.losses, losses);
  after.scores = { ...before.scores };
  for (const name of Object.keys(scores)) after.scores[name] = addPoints(before.scores[name] ?? [], scores[name]);
  return after;
}

// After a resume steps repeat; the later value of a step counts.
function addPoints(points, more) {
  if (more.length === 0) return points;
  const bySteps = new Map(points);
  for (const [step, value] of more) {
    if (typeof step === "number" && typeof value === "number") bySteps.set(step, value);
  }
  return [...bySteps].sort((one, other) => one[0] - other[0]);
}

/**
 * Follows a job.
 *
 * EventSource connects again by itself and says which event it had last, so nothing is missing and nothing comes twice.
 *
 * @param {string} id The job.
 * @param {number} attempts How often it was started; after another start the stream is opened again.
 */
export function useJobEvents(id, attempts) {
  const asked = `${id} ${attempts}`;
  // What an earlier attempt has said is not shown, not even until the effect has run.
  const [known, setKnown] = useState({ asked, events: NOTHING });
  useEffect(() => {
    const source = new EventSource(apiPath("jobs", id, "events"));
    let waiting = [];
    let timer = 0;
    const paint = () => {
      timer = 0;
      const events = waiting;
      waiting = [];
      setKnown((before) => ({ asked, events: follow(before.asked === asked ? before.events : NOTHING, events) }));
    };
    for (const kind of KINDS) {
      source.addEventListener(kind, (event) => {
        waiting.push([kind, JSON.parse(event.data)]);
        if (kind === "end") source.close();
        timer ||= setTimeout(paint, 100);
      });
    }
    return () => {
      source.close();
      clearTimeout(timer);
    };
  }, [asked]);
  return known.asked === asked ? known.events : NOTHING;
}
