// Shows what is in the outbox and not on its way: messages below the list, likes on their buttons, and a line that counts both.

import * as connection from "./connection.js"
import * as messages from "./messages.js"
import * as outbox from "./outbox.js"

const list = document.getElementById("unsent")
const input = document.getElementById("message-input")
const template = document.getElementById("unsent-item")
const count = document.getElementById("unsent-status")

// The server's reasons; any other is shown as it is.
const REASONS = {
  "message too long": "長すぎます",
  "too many messages": "一度に送りすぎました",
  "message store unavailable": "サーバが受け付けられませんでした",
}

const isOnItsWay = item => item.state === "handed" || (item.state === "carried" && item.carrier === connection.current())

// The same text set once more would be read out once more.
function say(element, text) {
  if (element.textContent !== text) element.textContent = text
}

/** What is said of an item, and the names of the buttons by which the reader can do something about it. */
function standing(item) {
  if (item.reason) return [`送信できませんでした: ${REASONS[item.reason] ?? item.reason}`, "send-again", "discard"]
  if (isOnItsWay(item)) return ["送信中…"]
  if (item.state !== "waiting") return ["送信できたか確認できていません", "send-again", "discard"]
  if (outbox.lacksTarget(item)) return ["未送信: 返信先のメッセージがもうありません", "send-unquoted", "discard"]
  if (connection.current()) return ["送信中…"]
  return ["未送信: 接続が戻ると送信します", "discard"]
}

// Messages

const shown = new Map() // item → li

const ACTIONS = { "send-again": outbox.sendAgain, "send-unquoted": outbox.sendUnquoted, "discard": discard }

// The text goes back to the input if nothing else is there: it may only need a change.
function discard(item) {
  outbox.discard(item)
  if (input.value === "") input.value = item.payload.message
}

function create(item) {
  const li = template.content.firstElementChild.cloneNode(true)
  li.querySelector(".text").textContent = item.payload.message
  for (const [name, act] of Object.entries(ACTIONS)) {
    li.querySelector(`.${name}`).addEventListener("click", () => {
      act(item)
      input.focus() // the button may be gone
    })
  }
  list.append(li)
  return li
}

function update(li, item) {
  const quote = li.querySelector(".quote")
  quote.hidden = item.target === null
  say(quote.querySelector(".italic"), item.target?.content ?? "")
  const [state, ...actions] = standing(item)
  say(li.querySelector(".state"), state)
  for (const name of Object.keys(ACTIONS)) li.querySelector(`.${name}`).hidden = !actions.includes(name)
}

function showMessages(items) {
  for (const [item, li] of shown) {
    if (items.includes(item)) continue
    li.remove()
    shown.delete(item)
  }
  for (const item of items) {
    if (!shown.has(item)) shown.set(item, create(item))
    update(shown.get(item), item)
  }
}

// Likes

let marked = []

function showLikes(items) {
  for (const button of marked) {
    button.classList.remove("unsent")
    button.title = "いいね"
  }
  marked = items.map(item => messages.find(item.target)?.querySelector(".like-button")).filter(Boolean)
  for (const button of marked) {
    button.classList.add("unsent")
    button.title = "いいね（未送信）"
  }
}

// The line

function sayCount(posts, likes) {
  const kinds = [posts.length && `メッセージ ${posts.length} 件`, likes.length && `いいね ${likes.length} 件`].filter(Boolean)
  if (kinds.length === 0) return say(count, "")
  const waits = !connection.current() && [...posts, ...likes].some(item => item.state !== "refused")
  const meanwhile = waits ? "接続が戻ると送信します。" : ""
  const risk = outbox.isSaved ? "" : "再読み込みすると失われます。"
  say(count, `未送信: ${kinds.join("、")}。${meanwhile}${risk}`)
}

// What is confirmed within moments is not worth a word, and what is shown stays until it is confirmed.
outbox.onChange(() => {
  const items = outbox.items.filter(item => !isOnItsWay(item) || item.isLate || shown.has(item))
  const [likes, posts] = [items.filter(outbox.isLike), items.filter(item => !outbox.isLike(item))]
  showMessages(posts)
  showLikes(likes)
  sayCount(posts, likes)
})
