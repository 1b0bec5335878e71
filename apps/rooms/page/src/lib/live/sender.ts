// Posts the unsent messages of a room, one after the other so that they keep their order, while the room is joined.

import { Refusal } from "./ask"
import type { Outbox, Unsent } from "./outbox.svelte"

/** How long to wait after a refusal that may pass. */
const RETRY_MS = 2000

type Post = Pick<Unsent, "nonce" | "text"> & { reply_to?: number; picture_id?: string }

export class Sender {
  /** One membership in the room; null while it is not joined. */
  #join: { isSending: boolean } | null = null

  constructor(private roomId: string, private outbox: Outbox, private post: (payload: Post) => Promise<unknown>) {}

  /** The room is joined. */
  start() {
    this.#join = { isSending: false }
    this.flush()
  }

  /** The room is not joined any more. A reply that did not come will not come: the next join posts the message again. */
  stop() {
    this.#join = null
  }

  async flush() {
    const join = this.#join
    if (!join || join.isSending) return
    join.isSending = true
    for (let item; this.#join === join && (item = this.#next()); ) {
      try {
        const { nonce, text, reply_to, picture } = item
        await this.post({ nonce, text, reply_to: reply_to?.id, picture_id: picture?.id })
        this.outbox.become(nonce, "sent")
      } catch (error) {
        if (!(error instanceof Refusal)) throw error
        if (this.#join !== join) return
        if (error.isTemporary) await new Promise(passed => setTimeout(passed, RETRY_MS))
        else this.outbox.become(item.nonce, "failed")
      }
    }
    join.isSending = false
  }

  #next() {
    return this.outbox.of(this.roomId).find(({ state }) => state === "waiting")
  }
}
