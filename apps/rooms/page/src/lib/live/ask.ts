// A push of phoenix.js as a promise of its reply.

import type { Channel } from "phoenix"

/** A reply that is an error. `reason` is the server's code, or `timeout` if there was no reply. */
export class Refusal extends Error {
  constructor(readonly reason: string) {
    super(reason)
  }

  /** Whether the same request may be granted later. */
  get isTemporary(): boolean {
    return ["timeout", "too_many", "unavailable"].includes(this.reason)
  }
}

/** Replaces halves of surrogate pairs in the texts, such as of an emoji that was cut: the server closes a connection that sends one. */
function wellFormed(payload: object): object {
  const texts = Object.entries(payload).map(([name, value]) =>
    [name, typeof value === "string" ? value.replace(/\p{Surrogate}/gu, "\ufffd") : value])
  return Object.fromEntries(texts)
}

/** Rejects with a `Refusal`. phoenix.js keeps the push until the channel is joined, for at most its timeout. */
export function ask<T = object>(channel: Channel, event: string, payload: object = {}): Promise<T> {
  return new Promise((resolve, reject) => {
    channel.push(event, wellFormed(payload))
      .receive("ok", resolve)
      .receive("error", response => reject(new Refusal(response.reason ?? "unavailable")))
      .receive("timeout", () => reject(new Refusal("timeout")))
  })
}
