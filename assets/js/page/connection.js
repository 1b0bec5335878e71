// The connection to the server, as it is seen below phoenix.js: what it sends, what it hears, and when it is lost.
//
// phoenix.js may have several transports at a time. One that died silently is given up after a missed heartbeat, but the
// browser closes it only a minute later. So each transport is a Link, and only the newest Link says whether the page is
// connected. A Link has one Join after another, as phoenix.js joins the lobby again when its channel has crashed.
//
// app.js does not know recovery, and asks for the whole history after each join. So a Link adds to its joins what the page has
// already, drops its `get_messages`, and passes the server's reply on as events that app.js knows (recovery.js).
//
// # Events
// open()                 the newest link is open
// lost()                 the newest link is closed or given up
// joining(params)        phoenix.js is about to join; listeners add to the parameters
// joined(response)       the join was accepted; app.js has not seen the reply yet
// ready(join)            the lobby is joined, and app.js has shown the history or what was missed
// saying(join, {event, payload, ref})       phoenix.js is about to send an event; listeners may add to its payload
// answered(join, {ref, status, response})   the server replied to an event, and app.js has shown the result
// over(join)             nothing that was sent in this join can arrive any more

import { older, Recovery } from "./recovery.js"

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

const write = ([event, payload]) => JSON.stringify([null, null, TOPIC, event, payload])

/** Whether phoenix.js has ever tried to connect. */
export const hasBegun = () => newest !== null

/** The join in which events can be sent, or null. */
export const current = () => (newest?.join?.isReady ? newest.join : null)

/** One membership in the lobby. */
class Join {
  isReady = false
  isOver = false
  recovery = new Recovery(() => this.push("get_messages", {}))
  #link
  #pages = new Set() // refs of the requests for older messages

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

  /** Asks for the newest `limit` messages before `id`. app.js has shown them when `answered` is emitted with the returned ref. */
  loadBefore(id, limit) {
    const ref = this.push("load_before", { id, limit })
    this.#pages.add(ref)
    return ref
  }

  /** The texts to give phoenix.js in place of one from the server. */
  translate(text, ref, event, payload) {
    switch (event) {
      case "load_messages":
        return this.recovery.loaded(payload).map(write)
      case "new_message":
      case "message_liked":
        return this.recovery.live(event, payload).map(write)
      case "phx_reply":
        return [text, ...this.#replied(ref, payload).map(write)]
      default:
        return [text]
    }
  }

  #replied(ref, { status, response }) {
    if (status !== "ok") return []
    if (this.#pages.delete(ref)) return older(response)
    if (ref !== this.ref) return []
    emit("joined", response)
    return this.recovery.joined(response)
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

  /** `transmit` sends a text over the transport without `saying` being emitted. */
  constructor(transmit) {
    this.transmit = transmit
    newest = this
  }

  get #isCurrent() {
    return this === newest && !this.#isLost
  }

  opened() {
    if (this.#isCurrent) emit("open")
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

  /** Returns the text to send in place of one from phoenix.js, or null to send nothing. */
  says(text) {
    const [joinRef, ref, topic, event, payload] = parse(text)
    if (topic !== TOPIC) return text
    switch (event) {
      case "phx_join":
        this.join?.end()
        this.join = new Join(this, ref)
        emit("joining", payload)
        break
      case "phx_leave":
        this.join?.end()
        break
      case "get_messages":
        return null
      default:
        if (this.join) emit("saying", this.join, { event, payload, ref })
    }
    return JSON.stringify([joinRef, ref, topic, event, payload])
  }

  /** Returns the texts to give phoenix.js in place of one from the server, and a function to call after app.js has handled them. */
  hears(text) {
    const [joinRef, ref, topic, event, payload] = parse(text)
    const { join } = this
    if (topic !== TOPIC || !join) return { texts: [text], after: () => {} }
    const isOfJoin = !join.isOver && (joinRef === null || joinRef === join.ref)
    const texts = this.#isCurrent && isOfJoin ? join.translate(text, ref, event, payload) : [text]
    return { texts, after: () => isOfJoin && this.#shown(join, ref, event, payload) }
  }

  #shown(join, ref, event, payload) {
    switch (event) {
      case "load_messages":
        return this.#ready(join)
      case "phx_reply":
        if (ref !== join.ref) return emit("answered", join, { ref, ...payload })
        if (payload.response.recovered) this.#ready(join)
        return
      case "phx_error":
      case "phx_close":
        return join.end()
    }
  }

  #ready(join) {
    if (!this.#isCurrent || join.isOver) return
    join.isReady = true
    emit("ready", join)
  }
}
