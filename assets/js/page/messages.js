// The list of messages. app.js appends every message that it gets, be it new, missed or older than all others. This module keeps
// one element per message in #messages, in the order of ids, with the newest number of likes. It moves and removes elements that
// app.js made and never builds markup of its own, so nothing that app.js escaped can come back to life.
//
// # Epochs
//
// Within one epoch of the server's store, ids have no gap, and neither has the list. When the connection is lost, all messages
// turn *stale* (dimmed). They are fresh again when the page rejoins the same epoch. Without a database, a restart of the server
// begins another epoch: ids start at 1 again, with other messages. The stale ones then stay readable until the first message of
// the new epoch replaces them.

import { on } from "./connection.js"

export const list = document.getElementById("messages")
const pane = list.closest("[role=log]")

let epoch = null // the server's
let newest = 0 // the page has the messages of this epoch up to this id
let shown = new Map() // id → li, ids ascending
let isFormer = false // the messages shown belong to an earlier epoch

// One class a selector: with two, Chromium searches the whole list for each element.
const idOf = li => Number(li.querySelector(".like-button").dataset.messageId)
const likesOf = li => li.querySelector(".like-button").querySelector("span")
const contentOf = li => li.querySelector(".reply-button").dataset.content

// A batch is what app.js appended for one event. Its ids are consecutive.
const observer = new MutationObserver(records => {
  const batch = records.flatMap(record => [...record.addedNodes])
  // A history that begins after a gap replaces the list. Scrolling up loads what is before it.
  if (isFormer || idOf(batch[0]) > newest + 1) clear()

  const came = new Set()
  for (const li of batch) {
    const old = shown.get(idOf(li))
    if (old) {
      // The old element stays: the reader may have the focus or a selection in it.
      refresh(old, li)
      li.remove()
      continue
    }
    label(li)
    came.add(li)
  }
  insert(came)
  observer.takeRecords() // our own changes
})
observer.observe(list, { childList: true })

function refresh(old, li) {
  // Likes only grow, and a history that was on its way while someone liked comes late: the greater number is the newer one.
  const [before, now] = [likesOf(old), likesOf(li)]
  if (Number(now.textContent) > Number(before.textContent)) before.textContent = now.textContent
}

function clear() {
  for (const li of shown.values()) li.remove()
  shown.clear()
  isFormer = false
}

function insert(came) {
  if (came.size === 0) return
  const [first] = came
  const inOrder = idOf(first) > newest
  for (const li of came) shown.set(idOf(li), li)
  newest = Math.max(newest, idOf([...came].at(-1)))
  if (!inOrder) keepPlace(() => sort(came))
}

// Linear: both the old and the new elements are in order already. Only the new ones move.
function sort(came) {
  shown = new Map([...shown].sort(([a], [b]) => a - b))
  let next = null
  for (const li of [...shown.values()].reverse()) {
    if (came.has(li) && li.nextElementSibling !== next) list.insertBefore(li, next)
    next = li
  }
}

// Keeps what the reader sees in place while `change` inserts elements above it. Scroll anchoring is not enough: it does nothing
// at the very top, and Safari has none.
function keepPlace(change) {
  const mark = list.firstElementChild
  pane.style.overflowAnchor = "none"
  const before = mark.getBoundingClientRect().top
  change()
  pane.scrollTop += mark.getBoundingClientRect().top - before
  pane.style.overflowAnchor = ""
}

function label(li) {
  // A text runs in the direction of its first letter.
  for (const selector of ["p", ".italic"]) li.querySelector(selector)?.setAttribute("dir", "auto")
  li.querySelector(".like-button").title = "いいね"
  const reply = li.querySelector(".reply-button")
  reply.title = "返信"
  reply.ariaLabel = "返信"
}

on("joining", params => Object.assign(params, { last_seen_id: newest, epoch }))

on("joined", response => {
  if (response.recovered || response.reason === "too_old") {
    if (!isFormer) for (const li of shown.values()) li.classList.remove("stale")
    return
  }
  epoch = response.epoch
  newest = 0
  isFormer = true
})

// A store that has deleted all its messages has an empty history but goes on counting.
on("ready", ({ recovery }) => { newest = Math.max(newest, recovery.last) })

on("lost", () => {
  for (const li of shown.values()) li.classList.add("stale")
})

/** The smallest id shown of this epoch, undefined if none is shown. */
export const oldest = () => (isFormer ? undefined : shown.keys().next().value)

/** A message as others point at it: `{id, epoch, content}`. */
export function targetOf(button) {
  const li = button.closest("li")
  return { id: Number(button.dataset.messageId), epoch: isFormer ? null : epoch, content: contentOf(li) }
}

/** Whether the message belongs to the server's present epoch. */
export const isCurrent = target => target.epoch === epoch

/** The element of a message, if it is shown. */
export const find = target => (isCurrent(target) ? shown.get(target.id) : undefined)

export function likes(target) {
  const li = find(target)
  return li ? Number(likesOf(li).textContent) : 0
}
