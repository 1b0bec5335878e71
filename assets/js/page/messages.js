// The list of messages. app.js appends every message that it gets: the history twice when it joins, and again at each
// reconnect. This module keeps one element a message in #messages, in the order of ids, with the newest number of likes. It
// moves and removes elements that app.js made and never builds markup of its own, so nothing that app.js escaped can come
// back to life.
//
// # Two lives of the server
//
// Unless the server has a database, a restart loses its messages: ids begin at 1 again, with other messages. So when
// the connection is lost everything shown turns *stale* (dimmed), and fresh again one by one as the server sends it anew.
// What arrives then comes from the same life if it reaches the newest stale id, since a history ends with the newest
// message and ids only grow, and if it contradicts no stale message of the same id. Else the stale ones are of a former
// life and all go. While nothing arrives, as after a restart without a history, they stay to be read.

import { on } from "./connection.js"

export const list = document.getElementById("messages")

let shown = new Map() // id → li, ids ascending
let newest = 0
let newestStale = 0

// One class a selector: with two, Chromium searches the whole list for each element.
const idOf = li => Number(li.querySelector(".like-button").dataset.messageId)
const likesOf = li => li.querySelector(".like-button").querySelector("span")
const contentOf = li => li.querySelector(".reply-button").dataset.content

// All of a message that can't change in one life of the server.
function wordsOf(li) {
  const quote = li.querySelector("p").previousElementSibling
  return JSON.stringify([quote?.textContent, contentOf(li)])
}

const contradicts = li => {
  const old = shown.get(idOf(li))
  return old !== undefined && wordsOf(old) !== wordsOf(li)
}

// A batch is what one frame from the server brought: a new message or a whole history.
const observer = new MutationObserver(records => {
  const batch = records.flatMap(record => [...record.addedNodes])
  if (newestStale > 0 && (idOf(batch.at(-1)) < newestStale || batch.some(contradicts))) forgetFormerLife()

  let inOrder = true
  for (const li of batch) {
    const id = idOf(li)
    const old = shown.get(id)
    if (old && wordsOf(old) === wordsOf(li)) {
      // The old element stays: the reader may have the focus or a selection in it.
      refresh(old, li)
      li.remove()
      continue
    }
    old?.remove()
    label(li)
    shown.set(id, li)
    inOrder &&= id >= newest
    newest = Math.max(newest, id)
  }
  if (!inOrder) sort()
  observer.takeRecords() // our own changes
})
observer.observe(list, { childList: true })

function refresh(old, li) {
  // Likes only grow, and a history that was on its way while someone liked comes late: the greater number is the newer
  // one. A stale number may be of a former life that had the same words.
  const [before, now] = [likesOf(old), likesOf(li)]
  if (old.classList.contains("stale") || Number(now.textContent) > Number(before.textContent)) {
    before.textContent = now.textContent
  }
  old.classList.remove("stale")
}

function forgetFormerLife() {
  for (const [id, li] of shown) {
    if (!li.classList.contains("stale")) continue
    li.remove()
    shown.delete(id)
  }
  newest = [...shown.keys()].at(-1) ?? 0
  newestStale = 0
}

// Linear: both runs, those that were there and those that came, are in order already, and few elements move.
function sort() {
  shown = new Map([...shown].sort(([a], [b]) => a - b))
  let next = null
  for (const li of [...shown.values()].reverse()) {
    if (li.nextElementSibling !== next) list.insertBefore(li, next)
    next = li
  }
}

function label(li) {
  // A text runs in the direction of its first letter.
  for (const selector of ["p", ".italic"]) li.querySelector(selector)?.setAttribute("dir", "auto")
  li.querySelector(".like-button").title = "いいね"
  const reply = li.querySelector(".reply-button")
  reply.title = "返信"
  reply.ariaLabel = "返信"
}

on("lost", () => {
  newestStale = newest
  for (const li of shown.values()) li.classList.add("stale")
})

/** A message as others point at it: `{id, content}`. */
export const targetOf = button => ({ id: Number(button.dataset.messageId), content: contentOf(button.closest("li")) })

/** The element of a message, unless that id is now another message's. */
export function find({ id, content }) {
  const li = shown.get(id)
  return li && contentOf(li) === content ? li : undefined
}

/** Whether the server has this message, as far as the page knows. */
export const isCurrent = target => find(target)?.classList.contains("stale") === false

export function likes(target) {
  const li = find(target)
  return li ? Number(likesOf(li).textContent) : 0
}
