// Changes on their way to the server: kept over a refresh, sent in order, and again until the server has them.
import { useEffect, useRef, useState } from "../vendor/preact.js";
import { ApiError } from "./api.js";
import { keepDraft, readDraft } from "./kept.js";

const LONGEST_WAIT_MS = 10000;
const FIRST_WAIT_MS = 500;
const BATCH = 100;

/** Whether a later try may succeed: the server is away or busy, or its disk is full. */
const isPassing = (error) => error.status === 0 || error.status === 429 || error.status === 507 || error.status === 401;

/**
 * A queue of changes that carry ids. How they outlive a refresh is for subclasses, in `keep`.
 *
 * A change leaves the queue when the server has answered for it, or has refused it for good. The server takes each id
 * once, so a change whose answer got lost is sent again.
 */
export class Outbox {
  /**
   * @param {Array} waiting What was kept.
   * @param {function(Array): Promise} send Sends some changes together.
   * @param {function(Outbox): void} onChange Is called when `waiting`, `error` or `refused` changes.
   */
  constructor(waiting, send, onChange) {
    this.send = send;
    this.onChange = onChange;
    this.waiting = waiting;
    this.error = null;
    this.refused = [];
    this.sending = null; // what is on its way, a promise
    this.timer = 0;
    this.wait = FIRST_WAIT_MS;
    this.batch = BATCH;
    if (this.waiting.length > 0) this.flush();
  }

  /** Adds a change and begins to send. */
  add(change) {
    this.waiting = [...this.waiting, change];
    this.keep();
    this.flush();
  }

  /** Sends what waits, now. */
  async flush() {
    if (this.sending !== null || this.waiting.length === 0) return;
    clearTimeout(this.timer);
    const changes = this.waiting.slice(0, this.batch);
    this.sending = this.send(changes);
    try {
      await this.sending;
      this.leave(changes);
      this.error = null;
      this.wait = FIRST_WAIT_MS;
      if (this.waiting.length === 0) this.batch = BATCH;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.failed(changes, error);
    } finally {
      this.sending = null;
    }
    this.keep();
    if (this.error === null || !isPassing(this.error)) this.flush();
  }

  leave(changes) {
    const ids = new Set(changes.map((change) => change.id));
    this.waiting = this.waiting.filter((change) => !ids.has(change.id));
  }

  failed(changes, error) {
    this.error = error;
    if (isPassing(error)) {
      this.timer = setTimeout(() => this.flush(), this.wait);
      this.wait = Math.min(this.wait * 2, LONGEST_WAIT_MS);
    } else if (changes.length > 1) {
      this.batch = 1; // Only the one that is at fault is refused.
    } else {
      this.refused = [...this.refused, ...changes];
      this.leave(changes);
    }
  }

  keep() {
    this.onChange(this);
  }

  /** Stops sending; what waits stays kept. */
  close() {
    clearTimeout(this.timer);
    this.onChange = () => {};
  }
}

/** An outbox in this tab's storage, under a key. */
export class KeptOutbox extends Outbox {
  constructor(key, send, onChange) {
    super(readDraft(key, []), send, onChange);
    this.key = key;
  }

  keep() {
    keepDraft(this.key, this.waiting.length > 0 ? this.waiting : undefined);
    super.keep();
  }
}

/**
 * Returns an outbox of a component, and paints the component when it changes. Leaving the page while something waits
 * asks the person first.
 *
 * @param {string} key Names the queue; must not change.
 * @param {function(Array): Promise} send Sends some changes together.
 */
export function useOutbox(key, send) {
  const [, paint] = useState(0);
  const box = useRef(null);
  box.current ??= new KeptOutbox(key, send, () => paint((before) => before + 1));
  useEffect(() => {
    const warn = (event) => box.current.waiting.length > 0 && event.preventDefault();
    addEventListener("beforeunload", warn);
    return () => {
      removeEventListener("beforeunload", warn);
      box.current.close();
    };
  }, []);
  return box.current;
}
