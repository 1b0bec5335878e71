// The other end of a page's WebSockets, played by the test: the server's part of the lobby, frame by frame.
import { until } from "../clients/until.mjs"

/** A message as the server sends it. */
export const M = (id, content, likes = 0, reply_to_content = null) =>
  ({ id, content, likes, reply_to_content, reply_to_id: reply_to_content && 1, timestamp: "2025-01-01T00:00:00.000000Z" })

/** The joins of a page, in their order. None is answered but by the test. */
export class Lobby {
  #items = []
  #takers = []
  #put(item) { (this.#takers.shift() ?? (() => this.#items.push(item)))(item) }

  /** To be called before the page is loaded. */
  static async open(page) {
    const lobby = new Lobby()
    await page.routeWebSocket(/\/socket\/websocket/, socket => {
      let join = null
      socket.onMessage(text => {
        const [joinRef, ref, topic, event, payload] = JSON.parse(text)
        if (event === "heartbeat") {
          if (!join?.isSilent) socket.send(JSON.stringify([null, ref, topic, "phx_reply", { status: "ok", response: {} }]))
          return
        }
        if (event !== "phx_join") return join?.heard.push({ ref, event, payload })
        join = new Connection(socket, joinRef, payload)
        lobby.#put(join)
      })
    })
    return lobby
  }

  async take() { return this.#items.length ? this.#items.shift() : new Promise(taker => this.#takers.push(taker)) }
}

class Connection {
  /** What the page has sent since it joined. */
  heard = []
  isSilent = false

  constructor(socket, joinRef, params) {
    this.socket = socket
    this.joinRef = joinRef
    this.params = params
  }

  #send(event, payload, joinRef = null, ref = null) {
    this.socket.send(JSON.stringify([joinRef, ref, "chat:lobby", event, payload]))
  }

  /** Lets the page in with what it has missed. */
  recovers(epoch, messages, liked = []) {
    const last_id = messages.at(-1)?.id ?? this.params.last_seen_id
    this.reply(this.joinRef, "ok", { recovered: true, epoch, last_id, messages, liked })
  }

  /** Lets the page in. The whole history is to follow. */
  startsAnew(reason, epoch, last_id) {
    this.reply(this.joinRef, "ok", { recovered: false, reason, epoch, last_id })
  }

  /** Lets the page in as a server does whose store has these messages. */
  enters(epoch, ...messages) {
    const { last_seen_id } = this.params
    if (this.params.epoch === epoch) {
      const liked = messages.filter(({ id }) => id <= last_seen_id).map(({ id, likes }) => ({ id, likes }))
      return this.recovers(epoch, messages.filter(({ id }) => id > last_seen_id), liked)
    }
    this.startsAnew("epoch", epoch, messages.at(-1)?.id ?? 0)
    this.history(...messages)
  }

  history(...messages) { this.#send("load_messages", { messages }, this.joinRef) }
  message(message) { this.#send("new_message", { message }) }
  liked(message) { this.#send("message_liked", { message }) }
  reply(ref, status = "ok", response = {}) { this.#send("phx_reply", { status, response }, this.joinRef, ref) }
  crash() { this.#send("phx_error", {}, this.joinRef, this.joinRef) }
  async lost(code = 1012) { await this.socket.close({ code }) }

  /** Broadcasts a message that the page has posted, and answers the post. */
  takes(message) {
    const post = this.posts.find(({ payload, isAnswered }) => payload.message === message.content && !isAnswered)
    post.isAnswered = true
    this.message(message)
    this.reply(post.ref, "ok", { id: message.id })
  }

  /** From now on nothing is answered, and what the page closes stays closing. The function returned ends that. */
  async dies() {
    this.isSilent = true
    const closing = new Promise(given => this.socket.onClose(given))
    return { closing, close: () => this.socket.close({ code: 1001 }) }
  }

  of(name) { return this.heard.filter(({ event }) => event === name) }
  get posts() { return this.of("new_message") }
  get likes() { return this.of("like_message") }

  /** Waits until exactly these texts have been posted. */
  async hears(...texts) { await until(() => this.posts.map(({ payload }) => payload.message), texts) }
}
