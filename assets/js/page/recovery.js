// Turns what the server sends within one join into events that app.js knows, in the right order: first what the page missed, or
// the whole history, then live messages without a gap. app.js appends whatever a `load_messages` brings, so missed and older
// messages are passed to it as one of those.

const history = messages => ["load_messages", { messages }]

/** The messages and likes of one join. Each method returns a list of events for app.js, each `[event, payload]`. */
export class Recovery {
  /** app.js has every message up to this id. */
  last = 0
  #held = [] // live events that wait for the history; null once it is here
  #loadAll

  /** `loadAll` asks the server for the whole history. */
  constructor(loadAll) {
    this.#loadAll = loadAll
  }

  /** The reply to the join. */
  joined({ recovered, last_id, messages, liked }) {
    this.last = last_id
    if (!recovered) return [] // the server sends load_messages next
    return [history(messages), ...liked.map(message => ["message_liked", { message }]), ...this.#release()]
  }

  loaded({ messages }) {
    this.last = messages.at(-1)?.id ?? this.last
    return [history(messages), ...this.#release()]
  }

  /** A message or a like that was broadcast. A gap in the ids is never skipped: the history is loaded again. */
  live(event, payload) {
    if (this.#held) {
      this.#held.push([event, payload])
      return []
    }
    if (event === "new_message") {
      const { id } = payload.message
      if (id <= this.last) return []
      if (id > this.last + 1) {
        this.#held = [[event, payload]]
        this.#loadAll()
        return []
      }
      this.last = id
    }
    return [[event, payload]]
  }

  #release() {
    const held = this.#held ?? []
    this.#held = null
    return held.flatMap(([event, payload]) => this.live(event, payload))
  }
}

/** The events for older messages. app.js appends these too, and messages.js moves them to their place. */
export const older = ({ messages }) => [history(messages)]
