// assets/js/app.js

import "phoenix_html"
import { Socket } from "phoenix"
import { LiveSocket } from "phoenix_live_view" // LiveView を使わない場合はこの行は不要
import topbar from "../vendor/topbar"

// --- 省略：LiveViewの初期化部分 (LiveView を使わない場合はこの部分は不要) ---

// Phoenixソケットへの接続
let socket = new Socket("/socket", { params: {} })
socket.connect()

// "chat:lobby"チャンネルに参加
let channel = socket.channel("chat:lobby", {})

// 過去メッセージを一括受信
channel.on("load_messages", payload => {
  let messages = payload.messages
  console.log("Loaded messages:", messages)
  appendMessages(messages)
})

// 新規メッセージ
channel.on("new_message", payload => {
  let { message } = payload
  console.log("Received new_message:", message)
  appendMessage(message)
})

// いいね
channel.on("message_liked", payload => {
  const { message } = payload
  console.log("Received message_liked:", message)
  updateMessageLikes(message.id, message.likes)
})

// チャンネル参加完了後、"get_messages" イベントを送って履歴を要求
channel.join()
  .receive("ok", () => {
    console.log("Successfully joined chat")
    channel.push("get_messages")
  })
  .receive("error", resp => { console.log("Unable to join", resp) })

// DOM要素
let chatForm = document.getElementById("chat-form")
let messageInput = document.getElementById("message-input")
let messagesUL = document.getElementById("messages")
let replyPreview = document.getElementById("reply-preview")
let cancelReplyBtn = document.getElementById("cancel-reply")
let replyToId = null

chatForm.addEventListener("submit", () => {
  let content = messageInput.value.trim()
  if (content !== "") {
    channel.push("new_message", {
      message: content,
      reply_to: replyToId
    })
    messageInput.value = ""
    replyToId = null
    replyPreview.classList.add("hidden")
  }
})

// いいねボタンを押したとき
function handleLike(messageId) {
  channel.push("like_message", { message_id: messageId })
    .receive("ok", () => {
      console.log("Like successful")
    })
    .receive("error", (err) => {
      console.error("Like failed:", err)
    })
}

// 返信ボタンを押したとき
function handleReply(messageId, content) {
  replyToId = messageId
  document.getElementById("reply-text").textContent = content
  replyPreview.classList.remove("hidden")
  messageInput.focus()
}

if (cancelReplyBtn) {
  cancelReplyBtn.addEventListener("click", () => {
    replyToId = null
    replyPreview.classList.add("hidden")
  })
}

// メッセージ一覧追加
function appendMessages(msgList) {
  msgList.forEach(msg => {
    appendMessage(msg)
  })
}

// メッセージ一件追加
function appendMessage(msg) {
  if (!messagesUL) return
  const li = document.createElement("li")
  // 返信先がある場合のUI
  const replyHtml = msg.reply_to_content
    ? `<div class="text-sm text-gray-500 bg-gray-50 p-2 rounded mb-2">
         <span class="font-medium">返信先 (ID: ${msg.reply_to_id}): </span>
         <span class="italic">${escapeHtml(msg.reply_to_content)}</span>
       </div>`
    : ""

  li.innerHTML = `
    <div class="bg-white p-4 rounded-lg shadow-sm mb-2">
      ${replyHtml}
      <p class="text-gray-900">${escapeHtml(msg.content)}</p>
      <div class="flex items-center space-x-4 mt-2">
        <button class="like-button" data-message-id="${msg.id}">❤️ <span>${msg.likes || 0}</span></button>
        <button class="reply-button" data-message-id="${msg.id}" data-content="${escapeHtml(msg.content)}">↩️</button>
        <span class="text-sm text-gray-500">ID: ${msg.id}</span>
      </div>
    </div>
  `
  messagesUL.appendChild(li)

  // イベントを付与
  li.querySelector(".like-button").addEventListener("click", () => {
    handleLike(msg.id)
  })
  li.querySelector(".reply-button").addEventListener("click", () => {
    handleReply(msg.id, msg.content)
  })
}

// いいね数を更新
function updateMessageLikes(messageId, likes) {
  let likeButtons = document.querySelectorAll(`.like-button[data-message-id="${messageId}"]`)
  likeButtons.forEach(btn => {
    let span = btn.querySelector("span")
    if (span) { span.textContent = likes }
  })
}

// HTMLエスケープ
function escapeHtml(unsafe) {
  return unsafe
    .replace(/&/g, "&amp;")
    .replace(/</g, "&lt;")
    .replace(/>/g, "&gt;")
    .replace(/"/g, "&quot;")
    .replace(/'/g, "&#039;")
}
