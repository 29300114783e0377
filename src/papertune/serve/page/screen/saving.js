// Decisions on their way to the server. They outlive the tab: what was not sent is in localStorage, one list a tab, and
// the next tab that opens the screening sends it.
import { useEffect, useState } from "../vendor/preact.js";
import { apiPath, newId, post } from "../core/api.js";
import { Outbox } from "../core/outbox.js";

const PREFIX = "papertune.unsaved.";
const TAB = newId();

/** Returns the lists of a screening that tabs have left, with their keys. */
function leftLists(screen) {
  const found = [];
  try {
    for (const key of Object.keys(localStorage)) {
      if (key.startsWith(`${PREFIX}${screen}.`)) found.push([key, JSON.parse(localStorage.getItem(key))]);
    }
  } catch {
    // Without storage, or with a damaged list, this tab's own memory has to do.
  }
  return found;
}

class Saving extends Outbox {
  constructor(screen) {
    const listeners = new Set();
    const tell = () => [...listeners].forEach((listener) => listener());
    super([], (events) => post(apiPath("screens", screen, "events"), events), tell);
    this.own = `${PREFIX}${screen}.${TAB}`;
    this.listeners = listeners;
    this.adopt(leftLists(screen));
  }

  // Two tabs may send an event both: the server takes its id once.
  adopt(lists) {
    const known = new Set();
    this.waiting = lists.flatMap(([, events]) => events).filter(({ id }) => !known.has(id) && known.add(id));
    if (this.waiting.length === 0) return;
    this.keep();
    lists.filter(([key]) => key !== this.own).forEach(([key]) => localStorage.removeItem(key));
    this.flush();
  }

  keep() {
    try {
      if (this.waiting.length > 0) localStorage.setItem(this.own, JSON.stringify(this.waiting));
      else localStorage.removeItem(this.own);
    } catch {
      // A full storage: the page still sends what it has in memory.
    }
    this.onChange(this);
  }

  /** Calls a function once, when nothing waits any more. */
  whenSent(act) {
    const look = () => {
      if (this.waiting.length > 0) return;
      this.listeners.delete(look);
      act();
    };
    this.listeners.add(look);
    look();
  }

  /** Forgets what was refused, after the person has seen it. */
  dismiss() {
    this.refused = [];
    this.error = null;
    this.onChange(this);
  }
}

const open = new Map();

/** Returns the decisions of a screening that wait; one object for all pages of this tab. */
export function savingOf(screen) {
  if (!open.has(screen)) open.set(screen, new Saving(screen));
  return open.get(screen);
}

/** Returns the same for a component, which is painted when it changes. */
export function useSaving(screen) {
  const [, paint] = useState(0);
  const saving = savingOf(screen);
  useEffect(() => {
    const listener = () => paint((round) => round + 1);
    saving.listeners.add(listener);
    return () => saving.listeners.delete(listener);
  }, [saving]);
  return saving;
}
