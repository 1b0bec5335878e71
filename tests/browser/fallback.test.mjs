// longPollFallbackMs in a browser, on a page of another origin than the server's, behind a proxy that stops WebSockets.
import assert from "node:assert/strict"
import { readFile } from "node:fs/promises"
import { after, afterEach, before, describe, test } from "node:test"
import { Proxy } from "../clients/proxy.mjs"
import { Server } from "../clients/server.mjs"
import { has, VERSIONS } from "../clients/versions.mjs"
import { launch } from "./page.mjs"

let browser, server, proxy, context
before(async () => {
  browser = await launch()
  server = await Server.reference()
})
after(async () => {
  await browser.close()
  await server.stop()
})
afterEach(async () => {
  await context.close()
  await proxy.stop()
})

async function open(version, webSockets) {
  const script = await readFile(new URL(`../../node_modules/phoenix-${version}/priv/static/phoenix.min.js`, import.meta.url))
  proxy = await Proxy.start(server, webSockets, {
    "/page": ["text/html", "<!doctype html><link rel=icon href=data:,><script src=/phoenix.js></script>"],
    "/phoenix.js": ["text/javascript", script],
  })
  context = await browser.newContext()
  const page = await context.newPage()
  // Another host than the proxy's 127.0.0.1, and one that /auth takes as an origin.
  await page.goto(`${proxy.url.replace("127.0.0.1", "localhost")}/page`)
  return page
}

/** What a join and an echo are answered with. */
const echo = (page, mount, topic, options = {}) => page.evaluate(async ([url, topic, options]) => {
  const socket = new Phoenix.Socket(url, { longPollFallbackMs: 300, ...options })
  socket.connect()
  const channel = socket.channel(topic, {})
  const ok = push => new Promise(resolve => push.receive("ok", resolve))
  const answers = [await ok(channel.join(500)), await ok(channel.push(topic.startsWith("ref:") ? "echo" : "whoami", { text: "火の鳥" }))]
  channel.leave()
  return answers
}, [proxy.mount(mount), topic, options])

const ECHOED = [{ echo: {} }, { text: "火の鳥" }]
const kinds = () => [...new Set(proxy.seen)].filter(line => !line.startsWith("OPTIONS")).sort()
const polls = mount => [`GET ${mount}/longpoll`, `POST ${mount}/longpoll`]

for (const version of VERSIONS.filter(version => has(version, "fallback"))) {
  describe(`phoenix.js ${version}`, () => {
    for (const [webSockets, what] of [["refuse", "are refused"], ["hang", "are never answered"]]) {
      test(`falls back to long poll where WebSockets ${what}, and a reload remembers it`, async () => {
        const page = await open(version, webSockets)
        assert.deepEqual(await echo(page, "/socket", "ref:1"), ECHOED)
        assert.deepEqual(kinds(), [...polls("/socket"), "UPGRADE /socket/websocket"])
        await page.reload()
        proxy.seen = []
        assert.deepEqual(await echo(page, "/socket", "ref:1"), ECHOED)
        assert.deepEqual(kinds(), polls("/socket"))
      })
    }

    test("takes its auth token along", { skip: !has(version, "authToken") && `phoenix.js ${version} has no authToken` }, async () => {
      const page = await open(version, "refuse")
      const [joined, who] = await echo(page, "/auth", "room:1", { authToken: "secret-1", params: { user_id: "ann" } })
      assert.deepEqual(joined, { user_id: "ann", token: "secret-1" })
      assert.deepEqual([who.token, who.path], ["secret-1", "/auth/longpoll"])
    })

    test("stays with a WebSocket that works", async () => {
      const page = await open(version, "pass")
      assert.deepEqual(await echo(page, "/socket", "ref:1"), ECHOED)
      await new Promise(done => setTimeout(done, 400))
      assert.deepEqual(proxy.seen, ["UPGRADE /socket/websocket"])
    })
  })
}
