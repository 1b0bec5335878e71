// What the reader does: writes, answers and likes. The listeners here come before those of app.js and stop what the outbox
// will send.

import { follow } from "./following.js"
import { list, targetOf } from "./messages.js"
import * as outbox from "./outbox.js"

const form = document.getElementById("chat-form")
const input = document.getElementById("message-input")
const cancelReply = document.getElementById("cancel-reply")

let target = null // the message that is being answered, as app.js has it too

list.addEventListener("click", event => {
  const button = event.target.closest("button")
  if (button?.matches(".reply-button")) target = targetOf(button)
  if (button?.matches(".like-button") && !outbox.like(targetOf(button))) event.stopPropagation()
}, { capture: true })

cancelReply.addEventListener("click", () => { target = null })

form.addEventListener("submit", event => {
  input.focus()
  const message = input.value.trim()
  if (message === "") return
  follow()
  const answered = target
  target = null
  if (outbox.post(message, answered)) return
  event.stopImmediatePropagation()
  input.value = ""
  cancelReply.click()
})

// A key that ends or throws away a conversion of an input method is not meant for the page. Safari ends the composition
// before it sends the key, and only the code 229 tells.
const isOfInputMethod = event => event.isComposing || event.keyCode === 229

input.addEventListener("keydown", event => {
  if (event.key === "Escape" && !isOfInputMethod(event)) cancelReply.click()
  // Keyboards on screens compose every word until it ends, and their Enter, which has no code, does mean to send.
  if (event.key === "Enter" && isOfInputMethod(event) && (event.keyCode === 229 || event.code !== "")) event.preventDefault()
})
