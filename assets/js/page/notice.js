// The notice that the connection is lost, or that there will be none.

import { hasBegun, on } from "./connection.js"

const notice = document.getElementById("connection-lost")

on("open", () => { notice.hidden = true })
on("lost", () => { notice.hidden = false })

function sayIfDead() {
  if (hasBegun()) return
  notice.textContent = "チャットを開始できませんでした。ブラウザがサイトデータ（Cookie など）をブロックしていないか確かめて、再読み込みしてください。"
  notice.hidden = false
}

// app.js has run by then. Its first poll is in a timer that is older than this one.
addEventListener("load", () => setTimeout(sayIfDead))
