// The connection to the server, as it is seen below phoenix.js: what it sends, what it hears, and when it is lost.
//
// phoenix.js may have several transports at a time. One that died silently is given up after a missed heartbeat, but the
// browser closes it only a minute later. So each transport is a Link, and only the newest Link says whether the page is
// connected. A Link has one Join after another, as phoenix.js joins the lobby again when its channel has crashed.
//
// # Events
// open()                 the newest link is open
// lost()                 the newest link is closed or given up
// ready(join, messages)  a history came: the lobby is joined, and what is said there is known
// message(message)       somebody posted
// said(join, {event, payload, ref})               phoenix.js sent an event to the lobby
// answered(join, {ref, status, response})         the server replied to an event
// over(join)             nothing that was sent in this join can arrive any more

const TOPIC = "chat:lobby"

const listeners = new Map()
let newest = null
let refs = 0

export function on(event, listener) {
  listeners.set(event, [...listeners.get(event) ?? [], listener])
}

function emit(event, ...details) {
  for (const listener of listeners.get(event) ?? []) listener(...details)
}

/** `[join_ref, ref, topic, event, payload]`. The lobby has no binary messages. */
const parse = text => (typeof text === "string" ? JSON.parse(text) : [])

/** Whether phoenix.js has ever tried to connect. */
export const hasBegun = () => newest !== null

/** The join in which events can be sent, or null. */
export const current = () => (newest?.join?.isReady ? newest.join : null)

/** One membership in the lobby. */
class Join {
  isReady = false
  isOver = false
  #link

  constructor(link, ref) {
    this.#link = link
    this.ref = ref
  }

  /** Sends an event and returns its ref, which none of phoenix.js can equal. */
  push(event, payload) {
    const ref = `page-${++refs}`
    this.#link.transmit(JSON.stringify([this.ref, ref, TOPIC, event, payload]))
    return ref
  }

  end() {
    if (this.isOver) return
    this.isReady = false
    this.isOver = true
    emit("over", this)
  }
}

/** One transport of phoenix.js: a WebSocket, or a session of long polls. */
export class Link {
  join = null
  #isLost = false

  /** `transmit` sends a text over the transport without `said` being called. */
  constructor(transmit) {
    this.transmit = transmit
    newest = this
  }

  opened() {
    if (this === newest && !this.#isLost) emit("open")
  }

  /** phoenix.js has given it up, or it is closed. */
  lost() {
    this.#isLost = true
    if (this.join) this.join.isReady = false
    if (this === newest) emit("lost")
  }

  closed() {
    this.lost()
    this.join?.end()
  }

  /** phoenix.js has sent this text. */
  said(text) {
    const [, ref, topic, event, payload] = parse(text)
    if (topic !== TOPIC) return
    switch (event) {
      case "phx_join":
        this.join?.end()
        this.join = new Join(this, ref)
        return
      case "phx_leave":
        return this.join?.end()
      default:
        if (this.join) emit("said", this.join, { event, payload, ref })
    }
  }

  /** The server has sent this text, and app.js has shown what it brought. */
  heard(text) {
    const [, ref, topic, event, payload] = parse(text)
    const { join } = this
    if (topic !== TOPIC || !join) return
    switch (event) {
      case "load_messages":
        if (this !== newest || this.#isLost) return
        join.isReady = true
        return emit("ready", join, payload.messages)
      case "new_message":
        return emit("message", payload.message)
      case "phx_reply":
        return emit("answered", join, { ref, ...payload })
      case "phx_error":
      case "phx_close":
        return join.end()
    }
  }
}
