// Clients of two nodes, which are one server to them.
import assert from "node:assert/strict"
import { after, afterEach, before, describe, it } from "node:test"
import { Server } from "../server.mjs"
import { until } from "../until.mjs"
import { CLIENTS, SECRET, disconnectAll, granting } from "./clients.mjs"
import { Redis } from "./redis.mjs"

describe("two nodes on a Redis", () => {
  let redis, nodes

  before(async () => {
    redis = await Redis.start()
    const node = name => Server.supabase({ JWT_SECRET: SECRET, CLUSTER: redis.url, NODE_NAME: name })
    nodes = await Promise.all([node("a"), node("b")])
    await until(async () => {
      const ready = await Promise.all(nodes.map(node => fetch(`${node.url}/readyz`).then(answer => answer.text())))
      return ready.every(text => /cluster up: 2 nodes/.test(text)) || ready
    }, true, 30_000)
  })
  after(async () => {
    await Promise.all(nodes.map(node => node.stop()))
    await redis.stop()
  })
  afterEach(disconnectAll)

  for (const client of CLIENTS) {
    it(`are one to ${client.name}`, async () => {
      const [one, other] = nodes.map(node => client.connect(node))
      const config = { broadcast: { ack: true } }
      const [ann, bob] = await Promise.all([
        one.channel("room", { ...config, presence: { key: "ann" } }).withPresence().subscribed(),
        other.channel("room", { ...config, presence: { key: "bob" } }).withPresence().subscribed(),
      ])
      const [inside, opposite] = await Promise.all(nodes.map(async node => {
        const each = client.connect(node)
        await each.setAuth(granting("room"))
        return each.channel("room", { ...config, private: true }).subscribed()
      }))
      assert.equal(await ann.send("json", { n: 1 }), "ok")
      if (client.sendsBytes) assert.equal(await ann.send("bytes", Uint8Array.of(0, 255).buffer), "ok")
      assert.equal(await inside.send("private", {}), "ok")
      await until(() => bob.heard, [["json", { n: 1 }], ...(client.sendsBytes ? [["bytes", [0, 255]]] : [])])
      await until(() => opposite.heard, [["private", {}]])
      await ann.track({ n: 1 })
      await bob.track({ n: 2 })
      for (const each of [ann, bob]) await until(() => each.present(), { ann: [{ n: 1 }], bob: [{ n: 2 }] })
      await ann.track({ n: 3 })
      await until(() => bob.present(), { ann: [{ n: 3 }], bob: [{ n: 2 }] })
      await one.disconnect()
      await until(() => bob.present(), { bob: [{ n: 2 }] })
      const early = client.connect(nodes[0]).channel("room")
      assert.equal(await early.send("http", { n: 4 }), "ok")
      await until(() => bob.heard.at(-1), ["http", { n: 4 }])
    })
  }
})
