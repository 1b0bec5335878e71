// Loads older messages, a page at a time, when the reader scrolls near the top of the list.

import * as connection from "./connection.js"
import { above } from "./following.js"
import { list, oldest } from "./messages.js"

const PAGE = 100 // messages

const pane = list.closest("[role=log]")
const notice = document.getElementById("older-status")

let asked = null // { join, ref } while a request waits for its answer
let reached = null // the server has no message before this id

function ask() {
  const join = connection.current()
  const id = oldest()
  const isPossible = join && !asked && id !== undefined && id !== 1 && id !== reached
  if (isPossible && above() < pane.clientHeight) wait({ join, ref: join.loadBefore(id, PAGE) })
}

function wait(request) {
  asked = request
  notice.hidden = request === null
  if (request) pane.ariaBusy = "true"
  else requestAnimationFrame(() => setTimeout(release))
}

// Screen readers do not announce what is added to a busy log. The frame with the older messages has passed.
function release() {
  if (!asked) pane.ariaBusy = "false"
}

pane.addEventListener("scroll", ask, { passive: true })
// A short list may not fill the window.
new ResizeObserver(ask).observe(list)

connection.on("joined", () => { reached = null })
connection.on("ready", ask)

connection.on("answered", (join, { ref, status, response }) => {
  if (asked?.join !== join || asked.ref !== ref) return
  if (status === "ok" && response.messages.length === 0) reached = oldest()
  wait(null)
  if (status === "ok") ask()
})

function giveUp() {
  if (asked && asked.join !== connection.current()) wait(null)
}
connection.on("lost", giveUp)
connection.on("over", giveUp)
