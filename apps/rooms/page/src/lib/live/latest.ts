// Tells somebody a value that changes often: one request at a time, then the newest value.

export class Latest<T> {
  #value: T | undefined
  #isSending = false

  constructor(private tell: (value: T) => Promise<unknown>) {}

  set(value: T) {
    this.#value = value
    this.send()
  }

  /** Tells the value that was not told yet. A request that fails is repeated by the next call. */
  async send() {
    while (!this.#isSending && this.#value !== undefined) {
      const value = this.#value
      this.#isSending = true
      try {
        await this.tell(value)
        if (this.#value === value) this.#value = undefined
      } catch {
        return
      } finally {
        this.#isSending = false
      }
    }
  }
}
