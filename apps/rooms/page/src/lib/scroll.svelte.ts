// A scrolled pane of messages: it stays where its reader is while messages come and go above and below.

/** So near to the end counts as its end, in pixels. */
const END = 40
/** So near to an edge more is loaded, in pixels. */
const EDGE = 400

export class Scroll {
  /** Whether the end is shown, and is to be shown when it moves. */
  isAtEnd = $state(true)
  /** The id of the last message that can be seen whole, or 0. */
  lastSeen = $state(0)
  #pane: HTMLElement
  #anchor: { id: string; top: number } | null = null

  constructor(pane: HTMLElement, private onEdge: (edge: "start" | "end") => void) {
    this.#pane = pane
  }

  /** Follows the pane and what is in it. Returns what ends that. */
  follow(content: HTMLElement): () => void {
    const resized = new ResizeObserver(() => this.settle())
    resized.observe(this.#pane)
    resized.observe(content)
    this.#pane.addEventListener("scroll", this.#scrolled, { passive: true })
    return () => {
      resized.disconnect()
      this.#pane.removeEventListener("scroll", this.#scrolled)
    }
  }

  /** To be called before the messages change. */
  hold() {
    this.#anchor = null
    if (this.isAtEnd) return
    const edge = this.#pane.getBoundingClientRect().top
    for (const item of this.#items()) {
      const { top, bottom } = item.getBoundingClientRect()
      if (bottom > edge) {
        this.#anchor = { id: item.dataset.id!, top }
        return
      }
    }
  }

  /** To be called after the messages have changed. */
  release() {
    const anchor = this.#anchor
    const item = anchor && this.item(anchor.id)
    if (item) this.#pane.scrollTop += item.getBoundingClientRect().top - anchor.top
    this.#anchor = null
    this.settle()
  }

  /** After any change of sizes. */
  settle() {
    if (this.isAtEnd) this.#pane.scrollTop = this.#pane.scrollHeight
    this.#look()
  }

  toEnd() {
    this.isAtEnd = true
    this.settle()
  }

  /** Shows an element in the middle of the pane. */
  to(element: Element) {
    this.isAtEnd = false
    element.scrollIntoView({ block: "center" })
    this.#scrolled()
  }

  item(id: string | number): HTMLElement | null {
    return this.#pane.querySelector(`[data-id="${id}"]`)
  }

  #items() {
    return this.#pane.querySelectorAll<HTMLElement>("[data-id]")
  }

  #scrolled = () => {
    const { scrollTop, scrollHeight, clientHeight } = this.#pane
    this.isAtEnd = scrollHeight - scrollTop - clientHeight < END
    this.#look()
  }

  #look() {
    const { scrollTop, scrollHeight, clientHeight } = this.#pane
    if (!clientHeight) return
    const edge = this.#pane.getBoundingClientRect().bottom + 1
    const seen = Array.from(this.#items()).findLast(item => item.getBoundingClientRect().bottom <= edge)
    this.lastSeen = this.isAtEnd ? Infinity : Number(seen?.dataset.id ?? 0)
    if (scrollTop < EDGE) this.onEdge("start")
    if (scrollHeight - scrollTop - clientHeight < EDGE) this.onEdge("end")
  }
}
