// A reader of the chat as docs and README show it: an unmodified phoenix.js that recovers what it missed.

const OPTIONS = { reconnectAfterMs: () => 20, rejoinAfterMs: () => 20 }

export class Reader {
  /** What is on the screen, in the order in which it came there. */
  shown = []
  histories = 0
  /** The replies to its joins. */
  joined = []
  #likes = new Map()
  #unsent = new Map() // nonce → text
  #nonces = 0

  constructor(name, { Socket, options }, socketUrl) {
    this.name = name
    this.socket = new Socket(socketUrl, { ...options, ...OPTIONS })
    this.socket.connect()

    let last = 0, epoch = null
    const channel = this.channel = this.socket.channel("chat:lobby", () => ({ last_seen_id: last, epoch }))
    const show = message => {
      this.shown.push(message)
      this.#showLikes(message)
    }
    const seen = message => {
      if (message.id <= last) return
      if (last && message.id !== last + 1) return gap()
      last = message.id
      show(message)
    }
    // A loss is never skipped. But when a poll session ends, phoenix.js 1.8.12 and older may drop the reply to the join and still
    // deliver the messages behind it. Then the channel is not joined, and the next join recovers them.
    const gap = () => { if (channel.state === "joined") channel.push("get_messages") }
    channel.on("new_message", ({ message }) => seen(message))
    channel.on("message_liked", ({ message }) => this.#showLikes(message))
    channel.on("load_messages", ({ messages }) => {
      this.histories++
      this.shown = []
      this.#likes.clear()
      messages.forEach(show)
      last = messages.at(-1)?.id ?? 0
    })
    channel.join().receive("ok", reply => {
      this.joined.push(reply)
      epoch = reply.epoch
      for (const message of reply.messages ?? []) {
        seen(message)
        this.#showLikes(message) // it may have been shown before the reply, with fewer
      }
      reply.liked?.forEach(like => this.#showLikes(like))
      for (const nonce of this.#unsent.keys()) this.#send(nonce)
    })
  }

  #showLikes({ id, likes }) { this.#likes.set(id, likes) }

  /** Posts a message, and repeats it after each rejoin, and when it is refused, until it is posted. */
  say(text) {
    const nonce = `${this.name} ${++this.#nonces}`
    this.#unsent.set(nonce, text)
    this.#send(nonce)
  }

  #send(nonce) {
    const again = () => setTimeout(() => { if (this.#unsent.has(nonce)) this.#send(nonce) }, 50)
    this.channel.push("new_message", { message: this.#unsent.get(nonce), nonce })
      .receive("ok", () => this.#unsent.delete(nonce))
      .receive("error", again)
      .receive("timeout", again)
  }

  get unsent() { return this.#unsent.size }
  get hasSentAll() { return this.unsent === 0 }
  get contents() { return this.shown.map(({ content }) => content) }
  get likes() { return this.shown.map(({ id }) => this.#likes.get(id)) }
  get recovered() { return this.joined.filter(({ recovered }) => recovered) }
}
