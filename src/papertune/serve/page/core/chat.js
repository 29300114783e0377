// An answer of /v1/chat/completions as it comes, piece by piece.
import { readError, unreachable } from "./api.js";

/** Yields the data of each event of a stream of server-sent events. */
export async function* eventData(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    rest += value ?? "";
    const events = rest.split(/\r?\n\r?\n/);
    rest = events.pop();
    for (const event of done ? [...events, rest] : events) {
      const lines = event.split(/\r?\n/).filter((line) => line.startsWith("data:"));
      if (lines.length > 0) yield lines.map((line) => line.slice(5).trimStart()).join("\n");
    }
    if (done) return;
  }
}

/**
 * Asks a model and yields the pieces of its answer.
 *
 * @param {string} model For example "RUN", "RUN:COLUMN" or "RUN:*".
 * @param {Array<{role: string, content: string}>} messages The conversation.
 * @param {AbortSignal} signal Stops the answer.
 */
export async function* ask(model, messages, signal) {
  const settings = {
    method: "POST",
    signal,
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ model, messages, stream: true }),
  };
  let answer;
  try {
    answer = await fetch("/v1/chat/completions", settings);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw unreachable();
  }
  if (!answer.ok) throw readError(answer.status, await answer.text());
  for await (const data of eventData(answer.body)) {
    if (data === "[DONE]") return;
    const chunk = JSON.parse(data);
    if (chunk.error) throw readError(answer.status, data);
    const piece = chunk.choices?.[0]?.delta?.content;
    if (piece) yield piece;
  }
}
