// The order of a room's changes: a change is shown only if its position is the next one. It does no I/O and knows no time.

import type { Change } from "../shapes"

export class Positions {
  /** Every change up to this position is shown. */
  last = 0
  /** Names the history that positions count in; null before the first join. */
  epoch: string | null = null
  #early = new Map<number, Change>()

  /** Whether a change has come before the one that it follows. */
  get isWaiting(): boolean {
    return this.#early.size > 0
  }

  /** Returns the changes that can be shown now, in order. Those that were shown before are dropped. */
  take(changes: Change[]): Change[] {
    for (const change of changes) if (change.id > this.last) this.#early.set(change.id, change)
    return this.#next()
  }

  /** The whole history up to `last` is shown. Returns the changes after it that came before it. */
  restart(epoch: string, last: number): Change[] {
    if (epoch !== this.epoch) this.#early.clear()
    this.epoch = epoch
    this.last = last
    for (const id of this.#early.keys()) if (id <= last) this.#early.delete(id)
    return this.#next()
  }

  /** What came early belongs to a connection that is lost: the next join tells it again. */
  forgetEarly() {
    this.#early.clear()
  }

  #next(): Change[] {
    const ready: Change[] = []
    for (let change; (change = this.#early.get(this.last + 1)); this.last += 1) {
      this.#early.delete(change.id)
      ready.push(change)
    }
    return ready
  }
}
