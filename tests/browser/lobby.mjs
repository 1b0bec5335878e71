// The other end of a page's WebSockets, played by the test: the server's part of the lobby, frame by frame.
import { until } from "../clients/until.mjs"

/** A message as the server sends it. */
export const M = (id, content, likes = 0, reply_to_content = null) =>
  ({ id, content, likes, reply_to_content, reply_to_id: reply_to_content && 1, timestamp: "2025-01-01T00:00:00.000000Z" })

/** The joins of a page, in their order. */
export class Lobby {
  #items = []
  #takers = []
  #put(item) { (this.#takers.shift() ?? (() => this.#items.push(item)))(item) }

  /** To be called before the page is loaded. `answers` tells whether to reply to a join. */
  static async open(page, { answers = () => true } = {}) {
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
        join = new Connection(socket, joinRef)
        if (answers()) join.reply(ref)
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

  constructor(socket, joinRef) {
    this.socket = socket
    this.joinRef = joinRef
  }

  #send(event, payload, joinRef = null, ref = null) {
    this.socket.send(JSON.stringify([joinRef, ref, "chat:lobby", event, payload]))
  }

  history(...messages) { this.#send("load_messages", { messages }) }
  message(message) { this.#send("new_message", { message }) }
  liked(message) { this.#send("message_liked", { message }) }
  reply(ref, status = "ok", response = {}) { this.#send("phx_reply", { status, response }, this.joinRef, ref) }
  crash() { this.#send("phx_error", {}, this.joinRef, this.joinRef) }
  async lost(code = 1012) { await this.socket.close({ code }) }

  /** From now on nothing is answered, and what the page closes stays closing. The function returned ends that. */
  async dies() {
    this.isSilent = true
    const closing = new Promise(given => this.socket.onClose(given))
    return { closing, close: () => this.socket.close({ code: 1001 }) }
  }

  get posts() { return this.heard.filter(({ event }) => event === "new_message") }
  get likes() { return this.heard.filter(({ event }) => event === "like_message") }

  /** Waits until exactly these texts have been posted. */
  async hears(...texts) { await until(() => this.posts.map(({ payload }) => payload.message), texts) }
}
