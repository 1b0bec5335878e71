// Browsers on different nodes, behind nginx with the repository's configuration: they cannot tell, even if a node is killed.
import assert from "node:assert/strict"
import { readFile } from "node:fs/promises"
import { after, afterEach, before, beforeEach, describe, test } from "node:test"
import { Server } from "../clients/server.mjs"
import { Postgres, Redis } from "../clients/engines.mjs"
import { Nginx } from "../clients/nginx.mjs"
import { until } from "../clients/until.mjs"
import { ChatPage, launch } from "./page.mjs"

const NAMES = ["chat-1", "chat-2", "chat-3"]

/** A node is missed after 6 s, and the machine may be busy. */
const PATIENCE = 40_000

// What the browser itself says of each attempt while a node is being missed.
const LOST = /^(WebSocket connection to .* failed|Failed to load resource: )/

let browser, postgres, redis, nodes, nginx
before(async () => { [browser, postgres] = await Promise.all([launch(), Postgres.start()]) })
after(async () => { await Promise.all([browser.close(), postgres.stop()]) })

async function start(node) {
  redis = await Redis.start()
  nodes = await Promise.all(NAMES.map(NODE_NAME => node({ NODE_NAME, CLUSTER: redis.address, TRUSTED_PROXIES: "127.0.0.1" })))
  for (const node of nodes) await until(() => metric(node, "hinotori_cluster_nodes"), nodes.length, PATIENCE)
  nginx = await Nginx.start(...nodes)
}

async function stop() {
  await nginx.stop()
  await Promise.all(nodes.map(node => node.kill()))
  await redis.stop()
}

async function metric(node, series) {
  const lines = (await (await fetch(`${node.url}/metrics`)).text()).split("\n")
  return Number(lines.find(line => line.startsWith(`${series} `))?.split(" ")[1] ?? 0)
}

/** How many connections each node has. */
const connections = transport => Promise.all(nodes.map(node => metric(node, `hinotori_connections{transport="${transport}"}`)))

/** Opens something that connects, and returns the node that it is connected to. */
async function placed(transport, open) {
  const before = await connections(transport)
  const opened = await open()
  let at = -1
  await until(async () => {
    const now = await connections(transport)
    at = now.findIndex((count, n) => count > before[n])
    return at >= 0
  }, true, PATIENCE)
  return [opened, nodes[at]]
}

async function killed(node) {
  await node.kill()
  nodes.splice(nodes.indexOf(node), 1)
}

describe("the chat", () => {
  let pages
  beforeEach(async () => {
    pages = []
    await start(env => Server.start({ ...env, STORE: postgres.address }))
  })
  afterEach(async () => {
    for (const page of pages) await page.close(LOST)
    await stop()
  })

  /** A browser of its own, and the node that it is connected to. */
  const enter = async options => {
    const [page, node] = await placed(options?.webSockets === false ? "longpoll" : "websocket",
      () => ChatPage.open(browser, nginx.url, options))
    pages.push(page)
    return [page, node]
  }

  /** Waits until all pages show the same messages, and returns what they show. */
  const agree = async (...contents) => {
    for (const page of pages) await until(() => page.contents(), contents, PATIENCE)
    const shown = await Promise.all(pages.map(page => page.messages()))
    for (const messages of shown) assert.deepEqual(messages, shown[0])
    return shown[0]
  }

  const shot = async name => { for (const [n, page] of pages.entries()) await page.screenshot(`nodes-${name}-${n + 1}`) }

  test("two browsers on different nodes chat, like and reply, and when the node of one is killed both go on", async () => {
    const [ann, own] = await enter()
    const [bob, other] = await enter()
    assert.notEqual(own, other)
    await ann.post("明日は何時から？")
    await bob.item("明日は何時から？").waitFor()
    await bob.reply("明日は何時から？")
    await bob.post("10時です")
    await ann.item("10時です").waitFor()
    await ann.like("10時です")
    await bob.like("10時です")
    for (const page of pages) {
      await until(async () => (await page.messages()).map(({ content, quote, likes }) => ({ content, quote, likes })), [
        { content: "明日は何時から？", quote: null, likes: 0 },
        { content: "10時です", quote: "明日は何時から？", likes: 2 },
      ], PATIENCE)
    }
    await shot("before")

    // Posted to a node that is dead, and beside it.
    await killed(own)
    await Promise.all([ann.post("ここにいます"), bob.post("はい")])
    for (const page of pages) await until(async () => (await page.contents()).length, 4, PATIENCE)
    await bob.like("明日は何時から？")
    const likes = async page => (await page.messages())[0].likes
    for (const page of pages) await until(() => likes(page), 1, PATIENCE)
    const last = (await bob.contents()).slice(2)
    assert.deepEqual([...last].sort(), ["ここにいます", "はい"].sort(), "each once")
    const shown = await agree("明日は何時から？", "10時です", ...last)
    assert.ok(shown.every(({ stale }) => !stale))
    assert.deepEqual(shown.map(({ id }) => id - shown[0].id), [0, 1, 2, 3])
    for (const page of pages) assert.ok(await page.page.locator("#connection-lost").isHidden())
    await ann.post("また明日")
    await agree("明日は何時から？", "10時です", ...last, "また明日")
    await shot("after")
  })

  test("a browser without WebSockets, whose requests reach different nodes, chats with another and outlives its node", async () => {
    const [ann, own] = await enter({ webSockets: false })
    const [bob] = await enter()
    // of other tests
    const history = await bob.contents()
    const says = async (page, text) => {
      await page.post(text)
      history.push(text)
      await agree(...history)
    }
    for (let n = 1; n <= 5; n++) {
      await says(ann, `ann ${n}`)
      await says(bob, `bob ${n}`)
    }
    const polled = nginx.requests.filter(({ path }) => path === "/socket/longpoll").flatMap(({ nodes }) => nodes)
    assert.ok(new Set(polled).size > 1, `all requests reached ${polled[0]}`)
    await shot("longpoll")

    await killed(own)
    await says(bob, "まだ?")
    await says(ann, "います")
    assert.ok(await ann.page.locator("#connection-lost").isHidden())
    await shot("longpoll-after")
  })
})

describe("the Presence of phoenix.js", () => {
  let pages, phoenix
  before(async () => {
    phoenix = await readFile(new URL("../../node_modules/phoenix/priv/static/phoenix.min.js", import.meta.url), "utf8")
  })
  beforeEach(async () => {
    pages = []
    await start(env => Server.reference(env))
  })
  afterEach(async () => {
    for (const page of pages) await page.close(LOST)
    await stop()
  })

  const PAGE = `<!doctype html><meta charset=utf-8><link rel=icon href=data:,><title>Who is there</title>
    <style>body { font: 20px sans-serif; margin: 2em }</style>
    <h1></h1><ul></ul>`

  // What a page does that follows the documentation of phoenix.js.
  const people = name => `
    const name = ${JSON.stringify(name)}
    document.querySelector("h1").textContent = name
    const socket = new Phoenix.Socket("/socket", { params: { user_id: name } })
    socket.connect()
    const channel = socket.channel("presence:lobby", { user_id: name })
    const presence = new Phoenix.Presence(channel)
    presence.onSync(() => {
      const people = presence.list((key, { metas }) => key + " ×" + metas.length).sort()
      document.querySelector("ul").replaceChildren(...people.map(text => {
        const item = document.createElement("li")
        item.textContent = text
        return item
      }))
    })
    channel.join()`

  const enter = async name => {
    const [page, node] = await placed("websocket", async () => {
      const page = await ChatPage.blank(browser, { viewport: { width: 400, height: 300 } })
      // a page of the nodes themselves: Chromium lets one that the test makes up connect to no server of this machine
      await page.page.goto(nginx.url)
      await page.page.setContent(PAGE)
      for (const content of [phoenix, people(name)]) await page.page.addScriptTag({ content })
      return page
    })
    pages.push(page)
    return [page, node]
  }

  /** Waits until every page shows that these are there, each once. */
  const there = async (...names) => {
    const wanted = names.map(name => `${name} ×1`).sort()
    for (const page of pages) await until(() => page.page.locator("li").allTextContents(), wanted, PATIENCE)
  }

  const shot = async name => { for (const [n, page] of pages.entries()) await page.screenshot(`nodes-presence-${name}-${n + 1}`) }

  test("on different nodes each sees the other, and when the node of one is killed both see each other once", async () => {
    const [, own] = await enter("ann")
    await there("ann")
    const [, other] = await enter("bob")
    assert.notEqual(own, other)
    await there("ann", "bob")
    await shot("before")
    await killed(own)
    // ann is there again by another node, and her presence of the dead one leaves
    await until(async () => (await connections("websocket")).reduce((sum, count) => sum + count), 2, PATIENCE)
    for (const node of nodes) await until(() => metric(node, "hinotori_cluster_nodes"), 2, PATIENCE)
    await there("ann", "bob")
    await shot("after")
    // and who leaves is gone
    await pages.pop().close(LOST)
    await there("ann")
  })
})
