// What the reader has written or liked until it is known that the server has it.
//
// phoenix.js keeps what is pushed without a connection for 10 s and then drops it without a word, and what was on the wire
// when a connection broke is gone or not, it can't tell. So while the lobby isn't joined the page keeps new items to itself,
// app.js never sees them, and phoenix.js has nothing that it could send as well. Otherwise app.js pushes them, and the outbox
// only watches.
//
// # States of an item
// waiting   ours to send, in the order of writing, once the lobby is joined and its history is here
// handed    app.js has pushed it, and no transport has had it yet
// carried   on the wire in `carrier`, a Join
// refused   the reader decides: the server said no (`reason`), or it went out TRIES times and was never answered
//
// An item is done when the server has answered it. An item that was carried in a former join may have been lost, and waits again.
// Sending a message again is safe: the server stores one message per nonce. A like has no nonce. It is sent again only after its
// join is over, when it can no longer arrive, and only if the message has no more likes than when the like went out.

import * as connection from "./connection.js"
import * as messages from "./messages.js"
import { load, save } from "./storage.js"

const KEY = "chat:unsent"
/** Then the reader is asked: it may be the item that breaks the connection or crashes its channel. */
const TRIES = 3
/** Milliseconds after which the reader is told of an item that the server has not confirmed. */
const LATE = 2_000

/** The join of an item from before a reload. */
const FORMER = { isOver: true }

/** In the order of writing. */
export let items = []
/** Whether they outlast a reload. */
export let isSaved = true

let tellChange = () => {}

/** Sets what is called after each change. */
export function onChange(listener) {
  tellChange = listener
  settle()
}

/** Takes a message in, as an answer to `target` or to nothing. False if app.js must not push it: the outbox will. */
export function post(message, target) {
  return add({ event: "new_message", payload: { message, reply_to: target?.id ?? null, nonce: nonce() }, target })
}

/** Takes a like of `target` in. False if app.js must not push it. */
export function like(target) {
  items = items.filter(item => !(isLike(item) && item.state === "refused" && item.target.id === target.id))
  return add({ event: "like_message", payload: { message_id: target.id }, target })
}

// crypto.randomUUID exists only on pages loaded over TLS.
const nonce = () => Array.from(crypto.getRandomValues(new Uint32Array(4)), part => part.toString(36)).join("-")

function add(words) {
  const item = { ...words, state: "waiting", tries: 0 }
  const isForApp = isPossible(item) && !items.some(isPossible)
  if (isForApp) item.state = "handed"
  items.push(item)
  watch(item)
  settle()
  return isForApp
}

/** Sends what was refused, or may be lost, once more. */
export function sendAgain(item) {
  Object.assign(item, { state: "waiting", tries: 0, reason: undefined })
  settle()
}

/** Sends an answer whose target is gone as an ordinary message. */
export function sendUnquoted(item) {
  item.payload.reply_to = null
  item.target = null
  settle()
}

export function discard(item) {
  items = items.filter(other => other !== item)
  settle()
}

export const isLike = item => item.event === "like_message"

/** Whether its target is gone: the server was started anew, or keeps it no longer. */
export const lacksTarget = item => connection.current() !== null && item.target !== null && !messages.isCurrent(item.target)

const isPossible = item => item.state === "waiting" && connection.current() !== null && !lacksTarget(item)

// Does what can be done now: one item at a time, so that their order holds and a server that limits rates takes them all.
function settle() {
  const join = connection.current()
  if (join) {
    items = items.filter(item => !(isLike(item) && lacksTarget(item) && !messages.find(item.target)))
    for (const item of items) if (item.state === "carried" && item.carrier !== join) reconsider(item)
    const isBusy = items.some(item => item.carrier === join && item.state === "carried" && !item.isLate)
    const next = items.find(isPossible)
    if (next && !isBusy) carry(next, join, join.push(next.event, next.payload))
  }
  isSaved = save(KEY, items.map(({ event, payload, target, state, tries, mark, reason }) => ({ event, payload, target, state, tries, mark, reason })))
  tellChange()
}

/** Decides about an item that was carried in a former join. */
function reconsider(item) {
  if (isLike(item) && !item.carrier.isOver) return
  if (isLike(item) && messages.likes(item.target) > item.mark) return counted(item)
  item.state = item.tries < TRIES ? "waiting" : "refused"
}

// Several likes of one message may have been on the wire: each additional like stands for one of them.
function counted(like) {
  done(like)
  for (const other of items) if (isLike(other) && other.state === "carried" && other.target.id === like.target.id) other.mark++
}

function carry(item, carrier, ref) {
  Object.assign(item, { state: "carried", carrier, ref, tries: item.tries + 1 })
  if (isLike(item)) item.mark = messages.likes(item.target)
  watch(item)
}

function watch(item) {
  clearTimeout(item.timer)
  item.isLate = false
  item.timer = setTimeout(() => {
    item.isLate = true
    settle()
  }, LATE)
}

function done(item) {
  clearTimeout(item.timer)
  items = items.filter(other => other !== item)
}

connection.on("saying", (carrier, { event, payload, ref }) => {
  const isSame = item => item.event === event && ["message", "reply_to", "message_id"].every(key => item.payload[key] === payload[key])
  const item = items.find(item => ["handed", "waiting"].includes(item.state) && isSame(item))
  if (!item) return
  Object.assign(payload, item.payload)
  carry(item, carrier, ref)
  settle()
})

connection.on("ready", settle)

connection.on("answered", (carrier, { ref, status, response }) => {
  const item = items.find(item => item.carrier === carrier && item.ref === ref)
  if (!item) return
  const isRefused = status === "error" && response.reason !== "message not found"
  if (isRefused) Object.assign(item, { state: "refused", reason: response.reason ?? "error" })
  else done(item)
  settle()
})

// What app.js has pushed and no transport has had is lost with its connection.
function takeBack() {
  for (const item of items) if (item.state === "handed") item.state = "waiting"
  settle()
}
connection.on("lost", takeBack)
connection.on("over", takeBack)

function restore() {
  items = (load(KEY) ?? []).map(item => ({ ...item, state: item.state === "handed" ? "waiting" : item.state, carrier: FORMER }))
}
restore()

// A page that comes back as it was left may find that another of this tab has sent some of it.
addEventListener("pageshow", event => {
  if (!event.persisted || !isSaved) return
  restore()
  settle()
})
