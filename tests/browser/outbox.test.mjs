// What the page sends when, frame by frame: the other end of its WebSockets is this test.
import assert from "node:assert/strict"
import { after, afterEach, before, beforeEach, test } from "node:test"
import { Server } from "../clients/server.mjs"
import { until } from "../clients/until.mjs"
import { Lobby, M } from "./lobby.mjs"
import { ChatPage, launch } from "./page.mjs"

let browser, server, chat, joins

before(async () => {
  browser = await launch()
  server = await Server.start()
})
after(async () => {
  await browser.close()
  await server.stop()
})

beforeEach(async () => {
  chat = await ChatPage.blank(browser)
  await chat.page.clock.install()
  joins = await Lobby.open(chat.page)
  await chat.page.goto(server.url)
})
afterEach(() => chat.close())

/** The next join, while page time goes on. */
async function taken() {
  let lobby
  joins.take().then(taken => { lobby = taken })
  await until(async () => {
    await chat.page.clock.runFor(500)
    return lobby !== undefined
  }, true)
  return lobby
}

/** The next join, let in by a server with these messages. */
async function join(...messages) {
  const lobby = await taken()
  lobby.enters("A", ...messages)
  return lobby
}

const shows = (...lines) => until(async () => (await chat.messages()).map(({ id, content }) => `${id} ${content}`), lines)
const states = async () => (await chat.unsent()).map(({ content, state }) => [content, state])
const press = name => chat.page.getByRole("button", { name }).click()

test("what is answered at once is never called unsent, and what is not is after a while", async () => {
  const lobby = await join(M(1, "a"))
  await shows("1 a")
  await chat.post("b")
  await lobby.hears("b")
  assert.deepEqual(await chat.unsent(), [])
  await chat.page.clock.runFor(5_000)
  await until(states, [["b", "送信中…"]])
  lobby.takes(M(2, "b"))
  await shows("1 a", "2 b")
  await until(states, [])
})

test("what is unsent goes out one by one, and what is written meanwhile goes behind it", async () => {
  let lobby = await join(M(1, "a"))
  await shows("1 a")
  await lobby.lost()
  lobby = await taken()
  await chat.post("one")
  await chat.post("two")
  await until(states, [["one", "未送信: 接続が戻ると送信します"], ["two", "未送信: 接続が戻ると送信します"]])
  lobby.enters("A", M(1, "a"))
  await lobby.hears("one")
  await chat.post("three")
  lobby.takes(M(2, "one"))
  await lobby.hears("one", "two")
  lobby.takes(M(3, "two"))
  await lobby.hears("one", "two", "three")
  lobby.takes(M(4, "three"))
  await shows("1 a", "2 one", "3 two", "4 three")
  await until(states, [])
})

test("each message has a nonce of its own, which it keeps however often it is sent", async () => {
  let lobby = await join()
  await chat.post("はい")
  await chat.post("はい")
  await lobby.hears("はい", "はい")
  const nonces = lobby.posts.map(({ payload }) => payload.nonce)
  assert.equal(new Set(nonces).size, 2)
  for (const nonce of nonces) assert.match(nonce, /^[\da-z-]{1,64}$/)
  await lobby.lost()
  lobby = await join()
  await lobby.hears("はい")
  lobby.takes(M(1, "はい"))
  await lobby.hears("はい", "はい")
  assert.deepEqual(lobby.posts.map(({ payload }) => payload.nonce), nonces)
  lobby.takes(M(2, "はい"))
  await until(states, [])
  await chat.post("はい")
  await lobby.hears("はい", "はい", "はい")
  assert.ok(!nonces.includes(lobby.posts[2].payload.nonce))
})

test("a message whose answer was lost is sent again, and the answer alone says what became of it", async () => {
  let lobby = await join()
  await chat.post("a")
  await lobby.hears("a")
  await lobby.lost()
  lobby = await join(M(1, "a"))
  await lobby.hears("a")
  await shows("1 a")
  lobby.reply(lobby.posts[0].ref, "ok", { id: 1 })
  await chat.page.clock.runFor(5_000)
  await until(states, [])
  await shows("1 a")
})

test("what breaks the connection each time is sent three times, and then only when the reader says so", async () => {
  let lobby = await join()
  await chat.post("poison")
  for (let tries = 1; tries <= 3; tries++) {
    await lobby.hears("poison")
    await lobby.lost(1011)
    lobby = await join()
  }
  await until(states, [["poison", "送信できたか確認できていません"]])
  await chat.post("harmless")
  await lobby.hears("harmless")
  lobby.takes(M(1, "harmless"))
  await press("もう一度送信")
  await lobby.hears("harmless", "poison")
  lobby.takes(M(2, "poison"))
  await shows("1 harmless", "2 poison")
  await until(states, [])
})

test("what crashes its channel is sent three times, and then only when the reader says so", async () => {
  let lobby = await join()
  await chat.post("poison")
  for (let tries = 1; tries <= 3; tries++) {
    await lobby.hears("poison")
    lobby.crash()
    lobby = await join()
  }
  await until(states, [["poison", "送信できたか確認できていません"]])
  assert.deepEqual(lobby.posts, [])
})

test("what phoenix.js has kept itself, because it was not joined when the page took it to be, is sent once", async () => {
  const first = await join(M(1, "a"))
  await shows("1 a")
  first.crash()
  const unanswered = await taken()
  await chat.post("kept by the page")
  unanswered.history(M(1, "a")) // no reply to the join: phoenix.js is not in
  await unanswered.hears("kept by the page")
  unanswered.takes(M(2, "kept by the page"))
  await shows("1 a", "2 kept by the page")
  await chat.post("kept by phoenix.js")
  await chat.page.clock.runFor(1_000)
  assert.equal(unanswered.posts.length, 1)
  await unanswered.socket.close({ code: 1012 })
  const lobby = await join(M(1, "a"), M(2, "kept by the page"))
  await lobby.hears("kept by phoenix.js")
  lobby.takes(M(3, "kept by phoenix.js"))
  await shows("1 a", "2 kept by the page", "3 kept by phoenix.js")
  await chat.page.clock.runFor(20_000)
  await lobby.hears("kept by phoenix.js")
  await until(states, [])
})

test("likes that were on the wire are sent again as often as the message has none of them", async () => {
  let lobby = await join(M(1, "a", 3), M(2, "b"))
  await shows("1 a", "2 b")
  await chat.like("a")
  await chat.like("a")
  await chat.like("b")
  await until(() => lobby.likes.length, 3)
  await lobby.lost()
  lobby = await join(M(1, "a", 4), M(2, "b", 1))
  await until(() => lobby.likes.map(({ payload }) => payload.message_id), [1])
  lobby.liked(M(1, "a", 5))
  lobby.reply(lobby.likes[0].ref)
  await chat.page.clock.runFor(5_000)
  await until(async () => (await chat.messages()).map(({ likes }) => likes), [5, 1])
  assert.equal(lobby.likes.length, 1)
  assert.equal(await chat.unsentCount, "")
})

test("an error that answers a message says why, and a like that was refused can be given again", async () => {
  const lobby = await join(M(1, "a"))
  await shows("1 a")
  await chat.post("b")
  await lobby.hears("b")
  lobby.reply(lobby.posts[0].ref, "error", { reason: "too many messages" })
  await until(states, [["b", "送信できませんでした: 一度に送りすぎました"]])
  await chat.like("a")
  await until(() => lobby.likes.length, 1)
  lobby.reply(lobby.likes[0].ref, "error", { reason: "too many messages" })
  await until(() => chat.unsentCount, "未送信: メッセージ 1 件、いいね 1 件。")
  await chat.like("a")
  await until(() => lobby.likes.length, 2)
  lobby.reply(lobby.likes[1].ref)
  await until(() => chat.unsentCount, "未送信: メッセージ 1 件。")
  await until(() => chat.errors.length, 1)
  assert.match(chat.errors.pop(), /^Like failed:/) // by app.js
})

test("what went into a connection that died silently is sent again on the next, likes only when it is closed", async () => {
  const dead = await join(M(1, "a"))
  await shows("1 a")
  const { closing, close } = await dead.dies()
  await chat.post("lost")
  await chat.like("a")
  await dead.hears("lost")
  await until(() => dead.likes.length, 1)
  await chat.page.clock.runFor(61_000) // phoenix.js gives it up after a heartbeat without an answer
  await closing
  const lobby = await join(M(1, "a"))
  await lobby.hears("lost")
  lobby.takes(M(2, "lost"))
  await shows("1 a", "2 lost")
  await until(states, [])
  assert.deepEqual(lobby.likes, [])
  await close()
  await until(() => lobby.likes.length, 1)
  lobby.reply(lobby.likes[0].ref)
  await until(() => chat.unsentCount, "")
  await chat.post("end")
  await lobby.hears("lost", "end")
})
