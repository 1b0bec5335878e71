// Broadcast and Presence, as each of Supabase's clients has them.
import assert from "node:assert/strict"
import { after, afterEach, before, describe, it } from "node:test"
import { Server } from "../server.mjs"
import { until } from "../until.mjs"
import { CLIENTS, SECRET, disconnectAll, granting, token } from "./clients.mjs"

/** Different in the number of characters, UTF-16 units and bytes. */
const TEXT = "ひ🐦é\u2028\"\\"

for (const client of CLIENTS) {
  describe(client.name, () => {
    let server

    before(async () => { server = await Server.supabase({ JWT_SECRET: SECRET }) })
    after(() => server.stop())
    afterEach(disconnectAll)

    it("broadcasts to others, to itself only if it wants that, and gets an answer only if it wants one", async () => {
      const all = await client.connect(server).channel("room", { broadcast: { ack: true, self: true } }).subscribed()
      const others = await client.connect(server).channel("room").subscribed()
      assert.equal(await all.send("a", { n: 1 }), "ok")
      assert.equal(await others.send("b", { n: 2 }), "ok")
      await until(() => all.heard, [["a", { n: 1 }], ["b", { n: 2 }]])
      assert.equal(await all.send("c", {}), "ok")
      await until(() => others.heard, [["a", { n: 1 }], ["c", {}]])
    })

    it("has any text in names and payloads", async () => {
      const [room, event] = client.measuresBytes ? [`room ${TEXT}`, `event ${TEXT}`] : ["room", "event"]
      const [one, other] = [client.connect(server).channel(room), client.connect(server).channel(room)]
      await Promise.all([one.subscribed(), other.subscribed()])
      await one.send(event, { [TEXT]: [TEXT, null, 1.5e-7, { deep: true }] })
      await until(() => other.heard, [[event, { [TEXT]: [TEXT, null, 1.5e-7, { deep: true }] }]])
    })

    it("sends bytes in order with JSON, if its protocol has them", { skip: !client.sendsBytes }, async () => {
      const one = await client.connect(server).channel("bytes", { broadcast: { ack: true, self: true } }).subscribed()
      const other = await client.connect(server).channel("bytes").subscribed()
      const old = await CLIENTS.at(-2).connect(server).channel("bytes").subscribed()
      const bytes = Uint8Array.from({ length: 256 }, (_, index) => index)
      assert.equal(await one.send("json", { n: 1 }), "ok")
      assert.equal(await one.send("bytes", bytes.buffer), "ok")
      assert.equal(await one.send("none", new ArrayBuffer(0)), "ok")
      assert.equal(await one.send("json", { n: 2 }), "ok")
      const json = [["json", { n: 1 }], ["json", { n: 2 }]]
      const all = [json[0], ["bytes", [...bytes]], ["none", []], json[1]]
      await until(() => other.heard, all)
      await until(() => one.heard, all)
      await until(() => old.heard, json)
    })

    it("sees who comes, changes and goes", async () => {
      const anns = client.connect(server).channel("presence", { presence: { key: "ann" } }).withPresence()
      const bobs = client.connect(server).channel("presence", { presence: { key: "bob" } }).withPresence()
      const [ann, bob] = await Promise.all([anns.subscribed(), bobs.subscribed()])
      assert.equal(await ann.track({ at: TEXT }), "ok")
      assert.equal(await bob.track({ at: 1 }), "ok")
      for (const each of [ann, bob]) await until(() => each.present(), { ann: [{ at: TEXT }], bob: [{ at: 1 }] })
      const refs = ann.presenceRefs("bob")
      assert.equal(await bob.track({ at: 1 }), "ok")
      assert.equal(await bob.track({ now: 2 }), "ok")
      for (const each of [ann, bob]) await until(() => each.present(), { ann: [{ at: TEXT }], bob: [{ now: 2 }] })
      assert.notDeepEqual(ann.presenceRefs("bob"), refs)
      const cat = await client.connect(server).channel("presence").withPresence().subscribed()
      await until(() => cat.present(), { ann: [{ at: TEXT }], bob: [{ now: 2 }] })
      assert.equal(await ann.untrack(), "ok")
      await bob.unsubscribe()
      for (const each of [ann, cat]) await until(() => each.present(), {})
    })

    it("is seen when it vanishes", async () => {
      const ann = await client.connect(server).channel("vanish").withPresence().subscribed()
      const gone = client.connect(server)
      const bob = await gone.channel("vanish", { presence: { key: "bob" } }).subscribed()
      assert.equal(await bob.track({}), "ok")
      await until(() => ann.present(), { bob: [{}] })
      await gone.disconnect()
      await until(() => ann.present(), {})
    })

    it("joins a private channel that its token grants, and hears nothing of the public one of that name", async () => {
      const allowed = client.connect(server)
      await allowed.setAuth(granting("secret:*"))
      const config = { private: true, broadcast: { ack: true, self: true }, presence: { key: "in" } }
      const inside = await allowed.channel("secret:1", config).withPresence().subscribed()
      const outside = await client.connect(server)
        .channel("secret:1", { broadcast: { ack: true, self: true }, presence: { key: "out" } })
        .withPresence().subscribed()
      await inside.track({})
      await outside.track({})
      assert.equal(await inside.send("e", { inside: true }), "ok")
      assert.equal(await outside.send("e", { inside: false }), "ok")
      await until(() => [inside.heard, inside.present()], [[["e", { inside: true }]], { in: [{}] }])
      await until(() => [outside.heard, outside.present()], [[["e", { inside: false }]], { out: [{}] }])
    })

    it("is refused a private channel that its token does not grant, with the reason", async () => {
      const channel = await client.connect(server, granting("other")).channel("secret:1", { private: true }).subscribe()
      assert.equal(channel.statuses[0], "CHANNEL_ERROR")
      assert.match(channel.errors[0], /Unauthorized: .*: secret:1/)
    })

    it("is refused changes of a database, with the reason", async () => {
      const channel = await client.connect(server).channel("table").onPostgresChanges().subscribe()
      assert.equal(channel.statuses[0], "CHANNEL_ERROR")
      assert.match(channel.errors[0], /PostgresChangesNotSupported/)
    })

    it("stays while it renews its token, and is told and closed when the token ends", async () => {
      const renews = client.connect(server)
      await renews.setAuth(token({ role: "authenticated", realtime: ["secret"] }, 2))
      const stays = await renews.channel("secret", { private: true, broadcast: { ack: true } }).subscribed()
      await renews.setAuth(granting("secret"))
      const lets = client.connect(server)
      await lets.setAuth(token({ role: "authenticated", realtime: ["secret"] }, 2))
      const ends = await lets.channel("secret", { private: true }).subscribed()
      await until(() => ends.system.length, 1)
      const [{ message, ...system }] = ends.system
      assert.match(message, /^Token has expired \d+ seconds ago$/)
      assert.deepEqual(system, { extension: "system", status: "error", channel: "secret" })
      await until(() => ends.statuses.includes("CLOSED"), true)
      assert.equal(await stays.send("e", {}), "ok")
      assert.deepEqual([stays.statuses, stays.system], [["SUBSCRIBED"], []])
    })

    it("is closed when it sends a token that is not good", async () => {
      const connected = client.connect(server)
      const channel = await connected.channel("room").subscribed()
      await connected.setAuth(`${token()}x`)
      await until(() => channel.system.map(({ message }) => message), ["Failed to validate JWT signature"])
      await until(() => channel.statuses.includes("CLOSED"), true)
    })

    it("sends by HTTP what it sends before it has joined", async () => {
      const hears = await client.connect(server).channel("http", { broadcast: { self: false } }).subscribed()
      const early = client.connect(server).channel("http")
      assert.equal(await early.send("early", { n: 1 }), "ok")
      await until(() => hears.heard, [["early", { n: 1 }]])
      const [allowed, sends, refused] = [1, 2, 3].map(() => client.connect(server))
      await Promise.all([allowed, sends].map(each => each.setAuth(granting("http"))))
      const inside = await allowed.channel("http", { private: true }).subscribed()
      // skipped
      assert.equal(await refused.channel("http", { private: true }).send("e", { n: 2 }), "ok")
      assert.equal(await sends.channel("http", { private: true }).send("e", { n: 3 }), "ok")
      await until(() => inside.heard, [["e", { n: 3 }]])
      assert.equal(hears.heard.length, 1)
    })

    it("sends JSON and bytes by httpSend", { skip: !client.hasHttpSend }, async () => {
      const room = "http/100%é"
      const hears = await client.connect(server).channel(room).subscribed()
      const sends = client.connect(server).channel(room)
      assert.deepEqual(await sends.httpSend(`a/b ${TEXT}`, { n: 1 }), { success: true })
      assert.deepEqual(await sends.httpSend("bytes", Uint8Array.of(0, 255)), { success: true })
      const bytes = client.sendsBytes ? [["bytes", [0, 255]]] : []
      await until(() => hears.heard, [[`a/b ${TEXT}`, { n: 1 }], ...bytes])
      const refused = client.connect(server, "not a key").channel(room)
      await assert.rejects(refused.httpSend("e", {}), /MalformedJWT/)
    })

    it("is back after the server was killed", async () => {
      const own = await Server.supabase({ JWT_SECRET: SECRET })
      try {
        const one = await client.connect(own).channel("room", { presence: { key: "ann" } }).withPresence().subscribed()
        const other = await client.connect(own).channel("room").withPresence().subscribed()
        await one.track({ n: 1 })
        await until(() => other.present(), { ann: [{ n: 1 }] })
        await own.kill()
        await own.startAgain()
        await until(async () => {
          await one.send("back", {})
          return other.heard.some(([event]) => event === "back")
        }, true, 30_000)
        await one.track({ n: 2 })
        await until(() => other.present(), { ann: [{ n: 2 }] })
      } finally {
        await disconnectAll()
        await own.stop()
      }
    })
  })
}
