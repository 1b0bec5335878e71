// Who is typing in a room, and telling that this user is.

const TELL_MS = 3000
const SHOW_MS = 5000

export class Typing {
  users = $state.raw<string[]>([])
  #timers = new Map<string, ReturnType<typeof setTimeout>>()
  #toldAt = -Infinity

  heard(user: string) {
    clearTimeout(this.#timers.get(user))
    this.#timers.set(user, setTimeout(() => this.stopped(user), SHOW_MS))
    if (!this.users.includes(user)) this.users = [...this.users, user]
  }

  stopped(user: string) {
    clearTimeout(this.#timers.get(user))
    this.#timers.delete(user)
    if (this.users.includes(user)) this.users = this.users.filter(other => other !== user)
  }

  /** Whether it is time to tell that this user is typing. */
  isDue(now = performance.now()): boolean {
    if (now - this.#toldAt < TELL_MS) return false
    this.#toldAt = now
    return true
  }

  /** The message was sent: the next key is news again. */
  sent() {
    this.#toldAt = -Infinity
  }

  end() {
    for (const user of [...this.#timers.keys()]) this.stopped(user)
  }
}
