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
// refused   the reader decides: the server said no (`reason`), or it went out TRIES times and never came back
//
// An item is done when the server has it: the message comes back, live or in a history, or the like is answered or counted.
// One that was carried in a join that is over and isn't in a later history was lost, and waits again.
//
// A message has no id of its own before the server has it. So one is known by its words and its quote, among those newer than
// the newest when it went out: if somebody else writes the same words in the moment in which ours are lost, ours are lost.

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

let newest = 0 // id of the newest message of this life of the server
let tellChange = () => {}

/** Sets what is called after each change. */
export function onChange(listener) {
  tellChange = listener
  settle()
}

/** Takes a message in, as an answer to `target` or to nothing. False if app.js must not push it: the outbox will. */
export function post(message, target) {
  return add({ event: "new_message", payload: { message, reply_to: target?.id ?? null }, target })
}

/** Takes a like of `target` in. False if app.js must not push it. */
export function like(target) {
  items = items.filter(item => !(isLike(item) && item.state === "refused" && item.target.id === target.id))
  return add({ event: "like_message", payload: { message_id: target.id }, target })
}

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
    for (const item of items) if (item.state === "carried" && item.carrier.isOver) giveBack(item)
    const isBusy = items.some(item => item.carrier === join && item.state === "carried" && !item.isLate)
    const next = items.find(isPossible)
    if (next && !isBusy) carry(next, join, join.push(next.event, next.payload))
  }
  isSaved = save(KEY, items.map(({ event, payload, target, state, tries, mark, reason }) => ({ event, payload, target, state, tries, mark, reason })))
  tellChange()
}

function giveBack(item) {
  item.state = item.tries < TRIES ? "waiting" : "refused"
}

function carry(item, carrier, ref) {
  // What is newer than this mark may be the item itself. A later try may be in another life of the server.
  const now = isLike(item) ? messages.likes(item.target) : newest
  Object.assign(item, { state: "carried", carrier, ref, tries: item.tries + 1, mark: Math.min(item.mark ?? now, now) })
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

const isPostOf = (item, message) => item.payload.message === message.content && item.payload.reply_to === message.reply_to_id
const isLikeOf = (item, message) => item.target.id === message.id && item.target.content === message.content

/** Whether a message of the history is what became of the item, or counts it. */
function isIn(item, message) {
  if (isLike(item)) return isLikeOf(item, message) && message.likes > item.mark
  return isPostOf(item, message) && message.id > item.mark
}

// The same words may wait twice, and what has become of one of them is not the other too.
function confirmBy(message, isItself) {
  const found = items.filter(item => item.mark !== undefined && isItself(item, message))
  for (const item of found) item.mark = isLike(item) ? item.mark + 1 : Math.max(item.mark, message.id)
  if (found.length > 0) done(found[0])
  return found.length > 0
}

connection.on("said", (carrier, { event, payload, ref }) => {
  const isSame = item => item.event === event && Object.entries(item.payload).every(([key, value]) => payload[key] === value)
  const item = items.find(item => ["handed", "waiting"].includes(item.state) && isSame(item))
  if (!item) return
  carry(item, carrier, ref)
  settle()
})

connection.on("message", message => {
  newest = Math.max(newest, message.id)
  if (confirmBy(message, (item, message) => !isLike(item) && isPostOf(item, message))) settle()
})

connection.on("ready", (_join, history) => {
  newest = history.at(-1)?.id ?? 0
  if (items.length > 0) for (const message of history) confirmBy(message, isIn)
  settle()
})

connection.on("answered", (carrier, { ref, status, response }) => {
  const item = items.find(item => item.carrier === carrier && item.ref === ref)
  if (!item) return
  if (status === "error" && response.reason !== "message not found") {
    Object.assign(item, { state: "refused", reason: response.reason ?? "error", mark: undefined })
  } else if (isLike(item)) {
    done(item)
  }
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
