// Which record is being read, which ones come next, and the last decisions.
import { useCallback, useEffect, useRef, useState } from "../vendor/preact.js";
import { ApiError, apiPath, get, newId } from "../core/api.js";
import { savingOf } from "./saving.js";

const AHEAD = 20;
const REFILL_BELOW = 16;
const RECENT = 10;
const MAX_FETCHED = 100;

/**
 * The state of reading. It lives outside of the component, because key presses can come faster than paints.
 *
 * @property {Object|null} current The record that is shown.
 * @property {Object[]} ahead The records after it.
 * @property {Object[]} recent The last decisions, the newest first: {event, record, title, verdict, before}.
 */
class Reading {
  constructor(screen, reader, onChange) {
    this.screen = screen;
    this.reader = reader;
    this.onChange = onChange;
    this.saving = savingOf(screen.id);
    this.current = null;
    this.ahead = [];
    this.recent = [];
    this.views = new Map();
    // Decisions of this reader that the server may not have yet.
    this.decided = new Set(
      this.saving.waiting.filter((event) => event.reader === reader && event.record !== undefined).map((event) => event.record),
    );
    this.isExhausted = false;
    this.isLearned = false; // whether the order rests on decisions already
    this.error = null;
    this.isLoading = false;
    this.isClosed = false;
  }

  path(...parts) {
    return apiPath("screens", this.screen.id, ...parts);
  }

  query(more = {}) {
    return new URLSearchParams({ reader: this.reader, ...more });
  }

  /** Loads the first records and the last decisions; `record` is shown first, if it is given. */
  async begin(record) {
    const isBehind = this.saving.waiting.length > 0; // another tab has left decisions, which are being sent
    await this.attempt(async () => {
      await this.loadRecent();
      if (record !== undefined) this.current = await get(`${this.path("records", record)}?${this.query()}`);
    });
    if (isBehind) this.saving.whenSent(() => this.attempt(() => this.loadRecent()));
    await this.refill();
  }

  async loadRecent() {
    const history = await get(`${this.path("history")}?${this.query({ n: RECENT })}`);
    this.recent = history.decisions.filter((each) => !each.settles);
  }

  /** Loads the next records while this one is read. */
  async refill() {
    if (this.isLoading) return;
    this.isLoading = true;
    // The next ones can wait; a decision on its way must not share the server with what marks their words.
    await this.saving.sending?.catch(() => {});
    await this.attempt(async () => {
      const n = Math.min(AHEAD + this.saving.waiting.length, MAX_FETCHED);
      const found = await get(`${this.path("next")}?${this.query({ n })}`);
      this.take(found.records);
      this.isExhausted = found.exhausted;
      this.isLearned = found.basis === "decisions";
    });
    this.isLoading = false;
    this.changed();
  }

  async attempt(work) {
    try {
      await work();
      this.error = null;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.error = error;
    }
    this.changed();
  }

  take(records) {
    const shown = this.current?.record;
    this.markCurrent(records.find(({ record }) => record === shown));
    const fresh = records.filter(({ record }) => !this.decided.has(record) && record !== shown);
    // What is nearly the same as this record stays next to it.
    const same = new Set((this.current?.near_duplicates ?? []).map(({ record }) => record));
    const together = this.ahead.filter(({ record }) => same.has(record) && !this.decided.has(record));
    const kept = new Set(together.map(({ record }) => record));
    this.ahead = [...together, ...fresh.filter(({ record }) => !kept.has(record))];
    if (this.current === null) this.advance();
  }

  // Words that were learned meanwhile; marks that somebody reads already do not change.
  markCurrent(view) {
    if (view === undefined || this.current.words_for.length + this.current.words_against.length > 0) return;
    const { words_learned, words_for, words_against, title_parts, abstract_parts } = view;
    this.current = { ...this.current, words_learned, words_for, words_against, title_parts, abstract_parts };
  }

  advance() {
    this.current = this.ahead.shift() ?? null;
  }

  add(kind, fields) {
    const event = { id: newId(), reader: this.reader, kind, ...fields };
    this.saving.add(event);
    return event.id;
  }

  /** Decides about the record that is shown, and shows the next one. */
  decide(verdict) {
    const view = this.current;
    if (view === null) return;
    const before = { verdict: view.verdict, event: view.event };
    const event = this.add(verdict, { record: view.record });
    this.views.set(view.record, { ...view, verdict, event });
    this.decided.add(view.record);
    const others = this.recent.filter((each) => each.record !== view.record);
    this.recent = [{ event, record: view.record, title: view.title, verdict, before }, ...others].slice(0, RECENT);
    this.advance();
    this.changed();
    if (this.ahead.length < REFILL_BELOW || !this.isLearned) this.refill();
  }

  /** Takes back the last decision, and shows its record again. */
  async undo() {
    const [last, ...others] = this.recent;
    if (last === undefined) return null;
    this.add("undo", { event_id: last.event });
    this.recent = others;
    const before = last.before ?? { verdict: null, event: null };
    if (before.verdict === null) this.decided.delete(last.record);
    const view = this.views.get(last.record);
    if (view !== undefined) this.views.set(last.record, { ...view, ...before });
    await this.show(last.record, before);
    return last;
  }

  /** Shows a record again; the one that was shown comes after it. */
  async show(record, changes = {}) {
    await this.attempt(async () => {
      const view = this.views.get(record) ?? (await get(`${this.path("records", record)}?${this.query()}`));
      const ahead = this.ahead.filter((each) => each.record !== record);
      if (this.current !== null && this.current.record !== record) ahead.unshift(this.current);
      this.ahead = ahead;
      this.current = { ...view, ...changes };
    });
  }

  note(text) {
    this.add("note", { record: this.current.record, text });
    this.edit({ note: text });
  }

  tag(tags) {
    this.add("tag", { record: this.current.record, tags });
    this.edit({ tags });
  }

  edit(changes) {
    this.current = { ...this.current, ...changes };
    this.views.set(this.current.record, this.current);
    this.changed();
  }

  changed() {
    if (!this.isClosed) this.onChange();
  }

  close() {
    this.isClosed = true;
  }
}

/** Returns the state of reading for a component. The component needs a new `key` for another reader. */
export function useReading(screen, reader, record) {
  const [, paint] = useState(0);
  const onChange = useCallback(() => paint((round) => round + 1), []);
  const reading = useRef(null);
  reading.current ??= new Reading(screen, reader, onChange);
  useEffect(() => {
    reading.current.begin(record);
    return () => reading.current.close();
  }, []);
  // What could not be loaded while the server was away is asked for again.
  const { error } = reading.current;
  useEffect(() => {
    if (error === null || error.status !== 0) return undefined;
    const timer = setTimeout(() => reading.current.refill(), 2000);
    return () => clearTimeout(timer);
  }, [error]);
  return reading.current;
}
