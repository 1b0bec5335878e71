// The messages of a room that the page has: the newest ones, and perhaps a window somewhere in the past that is shown instead.

import type { Message, Page } from "../shapes"
import { changed, joined, preceded, trimmed, type Segment } from "./segment"

/** What `around` brings on either side. */
export const AROUND = 25
/** The newest messages that are kept while nobody looks at older ones. */
const KEPT = 200

export class Timeline {
  #newest = $state.raw<Segment>({ messages: [], more: false })
  #window = $state.raw<Segment | null>(null)
  isLoaded = $state(false)

  get shown(): Segment {
    return this.#window ?? this.#newest
  }

  get isAtNewest(): boolean {
    return this.#window === null
  }

  get newestId(): number {
    return this.#newest.messages.at(-1)?.id ?? 0
  }

  find(id: number): Message | undefined {
    return [...this.shown.messages, ...this.#newest.messages].find(message => message.id === id)
  }

  /** What was there may have changed meanwhile, so it is forgotten. */
  restart(page: Page) {
    this.#newest = page
    this.#window = null
    this.isLoaded = true
  }

  change(message: Message) {
    this.#newest = changed(this.#newest, message, true)
    if (this.#window) this.#window = changed(this.#window, message, false)
  }

  /** The page before the first message that is shown. */
  precede(page: Page) {
    if (this.#window) this.#window = preceded(this.#window, page)
    else this.#newest = preceded(this.#newest, page)
  }

  /** Messages around `id`, which is to be shown. */
  show(id: number, messages: Message[]) {
    const more = messages.findIndex(message => message.id === id) >= AROUND
    this.#setWindow({ messages, more })
  }

  /** Messages around the last one of the window. */
  follow(messages: Message[]) {
    const longer = this.#window && joined(this.#window, { messages, more: true })
    if (longer) this.#setWindow(longer)
  }

  toNewest() {
    this.#window = null
  }

  /** Nobody looks at older messages. */
  trim() {
    if (!this.#window) this.#newest = trimmed(this.#newest, KEPT)
  }

  #setWindow(window: Segment) {
    const whole = joined(window, this.#newest)
    if (whole) this.#newest = whole
    this.#window = whole ? null : window
  }
}
