// Messages that the server has not confirmed. Each is kept in the browser's storage under a key of its own, so tabs do not
// overwrite each other's. Two tabs may post the same message: its nonce makes the server store it once.

import type { Picture, Quote } from "../shapes"

export interface Unsent {
  nonce: string
  room_id: string
  text: string
  reply_to: Quote | null
  picture: Picture | null
  at: string
  /** `sent`: confirmed, and its change is about to come. `failed`: refused for good. */
  state: "waiting" | "sent" | "failed"
}

export type Draft = Pick<Unsent, "room_id" | "text" | "reply_to" | "picture">

type Store = Pick<Storage, "getItem" | "setItem" | "removeItem" | "key" | "length">

/** 128 random bits. Without https there is no `crypto.randomUUID`. */
const newNonce = () => Array.from(crypto.getRandomValues(new Uint32Array(4)), word => word.toString(36)).join("-")

/** A message as it was stored; null if something else has written there. */
function stored(json: string | null): Unsent | null {
  try {
    const item = JSON.parse(json ?? "null")
    const { nonce, room_id, text, at } = item
    return [nonce, room_id, text, at].every(field => typeof field === "string") ? item : null
  } catch {
    return null
  }
}

export class Outbox {
  items = $state.raw<Unsent[]>([])
  #prefix: string

  constructor(userId: string, private storage: Store) {
    this.#prefix = `rooms:unsent:${userId}:`
    for (let i = 0; i < storage.length; i++) {
      const key = storage.key(i)
      const item = key?.startsWith(this.#prefix) && stored(storage.getItem(key))
      if (item) this.items = [...this.items, item]
    }
    this.items = this.items.sort((a, b) => a.at.localeCompare(b.at))
  }

  of(roomId: string): Unsent[] {
    return this.items.filter(({ room_id }) => room_id === roomId)
  }

  add(draft: Draft): Unsent {
    const item: Unsent = { ...draft, nonce: newNonce(), at: new Date().toISOString(), state: "waiting" }
    this.items = [...this.items, item]
    this.#store(item)
    return item
  }

  /** Sets what became of a message. One that was sent is not kept over a reload. */
  become(nonce: string, state: Unsent["state"]) {
    this.items = this.items.map(item => (item.nonce === nonce ? { ...item, state } : item))
    const item = this.items.find(item => item.nonce === nonce)
    if (item && state !== "sent") this.#store(item)
    else this.#forget(nonce)
  }

  remove(nonce: string) {
    this.items = this.items.filter(item => item.nonce !== nonce)
    this.#forget(nonce)
  }

  /** Another tab has changed the storage at `key`. */
  changedElsewhere(key: string | null) {
    if (!key?.startsWith(this.#prefix) || this.storage.getItem(key) !== null) return
    const nonce = key.slice(this.#prefix.length)
    this.items = this.items.filter(item => item.nonce !== nonce)
  }

  #store(item: Unsent) {
    try {
      this.storage.setItem(this.#prefix + item.nonce, JSON.stringify(item))
    } catch {
      // the storage is full: the message lives as long as this tab
    }
  }

  #forget(nonce: string) {
    this.storage.removeItem(this.#prefix + nonce)
  }
}
