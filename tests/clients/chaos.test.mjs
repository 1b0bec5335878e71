// The server is killed with -9 and started again, over and over, while phoenix.js clients post to it.
//
// The store lives in memory, so each life of the server begins with id 1 and no messages. What holds across kills: every
// client comes back to every life; in each life it sees the ids from 1 on, none missing, none twice, none out of order,
// whether a history brought them or a broadcast; and no two clients see different words under one id. So what was
// acknowledged to anyone by its broadcast is there for everyone who got as far. A post may be lost with the life that it
// was made in, but is never there twice. When nobody kills any more, everyone has everything.
import assert from "node:assert/strict"
import { afterEach, beforeEach, test } from "node:test"
import { LongPoll } from "phoenix"
import { openSocket, disconnectAll } from "./client.mjs"
import { Server } from "./server.mjs"
import { until } from "./until.mjs"

const KILLS = Number(process.env.CHAOS_KILLS ?? 4)
const WEB_SOCKETS = 5
const LONG_POLLS = 2
const PATIENCE = 30_000

/** A client that posts until it is told to stop, and keeps what it saw in each life. */
class Poster {
  /** One for each join: the life of the server, the history and what was broadcast, in the order in which it came. */
  lives = []
  posted = 0
  #stopped = false

  constructor(name, server, options) {
    this.name = name
    this.channel = openSocket(server, options).channel("chat:lobby", {})
    this.channel.on("load_messages", ({ messages }) => { this.now.history = messages })
    this.channel.on("new_message", ({ message }) => this.now.heard.push(message))
    this.channel.join().receive("ok", () => this.lives.push({ life: server.life, history: null, heard: [] }))
    this.#post()
  }

  #post() {
    if (this.#stopped) return
    // what phoenix.js keeps while it is away is sent when it is back; it keeps only so much
    if (this.channel.pushBuffer.length < 50) this.say(`${this.name} ${++this.posted}`)
    setTimeout(() => this.#post(), 2)
  }

  say(message) { this.channel.push("new_message", { message }, PATIENCE) }
  stop() { this.#stopped = true }

  get now() { return this.lives.at(-1) }
  get contents() { return wordsOf(this.now) }
}

/** What each id says, from 1 on: of the history, and of what was broadcast after the join, which may be in it or not. */
function wordsOf({ history, heard }) {
  const words = (history ?? []).map(message => message.content)
  for (const { id, content } of heard) words[id - 1] ??= content
  return words
}

let server, posters

beforeEach(async () => {
  server = await Server.start({ RUST_LOG: "error" })
  server.life = 0
  posters = [
    ...Array.from({ length: WEB_SOCKETS }, (_, n) => new Poster(`websocket-${n}`, server)),
    ...Array.from({ length: LONG_POLLS }, (_, n) => new Poster(`longpoll-${n}`, server, { transport: LongPoll })),
  ]
})
afterEach(async () => {
  for (const poster of posters) poster.stop()
  disconnectAll()
  await server.stop("SIGKILL")
})

const everyone = what => until(() => posters.filter(poster => !what(poster)).map(poster => poster.name), [], PATIENCE)

/** In this life, with something said in it. */
const isBack = ({ now }) => now?.life === server.life && now.history !== null && wordsOf(now).length > 0

test(`after ${KILLS} kills under load everyone is back, with every message once and in order`, { timeout: 600_000 }, async () => {
  for (let kill = 0; kill < KILLS; kill++) {
    await everyone(isBack)
    // at another moment of its life each time
    await new Promise(done => setTimeout(done, Math.random() * 300))
    await server.kill()
    server.life++
    await server.startAgain()
  }
  await everyone(isBack)
  for (const poster of posters) {
    poster.stop()
    poster.say(`${poster.name} has ended`)
  }
  const ends = posters.map(poster => `${poster.name} has ended`)
  await everyone(poster => ends.every(end => poster.contents.includes(end)))

  const seenIn = new Map() // life → what each id said there
  for (const { name, lives } of posters) {
    assert.equal(new Set(lives.map(({ life }) => life)).size, KILLS + 1, `${name} missed a life`)
    for (const { life, history, heard } of lives) {
      const where = `${name} in life ${life}`
      // without a history it was killed between the join and that
      if (history) assert.deepEqual(history.map(({ id }) => id), history.map((_, index) => index + 1), where)
      assert.deepEqual(heard.map(({ id }) => id), heard.map((_, index) => heard[0].id + index), where)
      if (history && heard.length > 0) assert.ok(heard[0].id <= history.length + 1, `${where}: a gap behind its history`)
      const words = seenIn.get(life) ?? []
      for (const { id, content } of [...history ?? [], ...heard]) assert.equal(content, words[id - 1] ??= content, where)
      seenIn.set(life, words)
    }
  }
  for (const poster of posters) assert.deepEqual(poster.contents, posters[0].contents, "all have the same in the end")
  const everywhere = [...seenIn.values()].flat()
  assert.equal(new Set(everywhere).size, everywhere.length, "a message in two lives")
  console.log(`${KILLS} kills, ${posters.length} clients, ${everywhere.length} messages in ${seenIn.size} lives`)
})
