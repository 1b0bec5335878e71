// phoenix.js on long poll, each of whose requests reaches another of two nodes than the one before.
import assert from "node:assert/strict"
import { after, afterEach, before, beforeEach, describe, test } from "node:test"
import { RoundRobin } from "./round-robin.mjs"
import { answer } from "./client.mjs"
import { Server } from "./server.mjs"
import { Redis } from "./engines.mjs"
import { until } from "./until.mjs"
import { CLIENTS, has } from "./versions.mjs"

const COUNT = 150
const PATIENCE = 30_000

let redis, nodes, balancer, sockets
before(async () => { redis = await Redis.start() })
after(() => redis.stop())
beforeEach(async () => {
  sockets = []
  nodes = await Promise.all([1, 2].map(n => Server.reference({ CLUSTER: redis.address, NODE_NAME: `node-${n}`, RUST_LOG: "info" })))
  for (const node of nodes) await until(() => clusterOf(node), "2 nodes", PATIENCE)
  balancer = await RoundRobin.start(nodes)
})
afterEach(async () => {
  for (const socket of sockets) socket.disconnect()
  await balancer.stop()
  await Promise.all(nodes.map(node => node.kill()))
})

const get = async url => (await fetch(url)).text()
const clusterOf = async node => (await get(`${node.url}/readyz`)).match(/cluster up: (\d+ nodes)/)?.[1]

/** How many long polls a node has. */
const polls = async node => Number((await get(`${node.url}/metrics`)).match(/^hinotori_connections\{transport="longpoll"\} (\d+)/m)?.[1] ?? 0)

function connect({ Socket, options }, server = balancer) {
  const socket = new Socket(server.mount("/socket"), { reconnectAfterMs: () => 50, rejoinAfterMs: () => 50, timeout: PATIENCE, ...options })
  sockets.push(socket)
  socket.connect()
  return socket
}

/** A member of a topic who keeps what was broadcast. */
async function join(client, server) {
  const channel = connect(client, server).channel("ref:nodes", {})
  const heard = []
  channel.on("bcast", ({ n }) => heard.push(n))
  assert.equal((await answer(channel.join(PATIENCE))).status, "ok")
  return { channel, heard }
}

for (const client of CLIENTS.filter(({ transport }) => transport !== "WebSocket")) {
  describe(`phoenix.js ${client.version} on ${client.transport}`, () => {
    test("messages both ways all come, once and in order", async () => {
      const { channel, heard } = await join(client)
      const other = await join(CLIENTS.find(({ version, transport }) => version === client.version && transport === "WebSocket"), nodes[1])
      const replies = []
      const echo = async n => {
        const { status, response } = await answer(channel.push("echo", { n }, PATIENCE))
        replies.push(status === "ok" ? response.n : status)
      }
      const echoes = []
      for (let n = 0; n < COUNT; n++) {
        other.channel.push("bcast", { n }, PATIENCE)
        echoes.push(echo(n))
        // Before 1.7 there is a request for each push, and they overtake each other on any server.
        if (!has(client.version, "batches") || n % 10 === 0) await echoes.at(-1)
      }
      await Promise.all(echoes)
      const all = Array.from({ length: COUNT }, (_, n) => n)
      assert.deepEqual(replies, all)
      await until(() => heard, all, PATIENCE)
      assert.deepEqual(other.heard, all)
      assert.ok(balancer.taken.every(count => count > 2), `requests of each node: ${balancer.taken}`)
    })

    test("when the node of its session is killed, it goes on by a new session", {
      skip: client.version === "1.4" && "phoenix.js 1.4 does not end a poll that waits, and may have two sessions afterwards",
    }, async () => {
      const { channel, heard } = await join(client)
      const own = (await polls(nodes[0])) ? 0 : 1
      await nodes[own].kill()
      // Before 1.8.16 phoenix.js takes a session that is gone for its own, until it sends something.
      const rejoined = () => answer(channel.push("echo", { n: 1 }, 2_000)).then(({ status }) => status)
      await until(rejoined, "ok", PATIENCE)
      const other = await join(CLIENTS.find(({ transport }) => transport === "WebSocket"), nodes[1 - own])
      for (let n = 0; n < 10; n++) other.channel.push("bcast", { n }, PATIENCE)
      // Versions before 1.8.16 may have two polls then, and get a message twice.
      const once = () => client.version === "1.8.16" ? heard : [...new Set(heard)]
      await until(once, Array.from({ length: 10 }, (_, n) => n), PATIENCE)
    })
  })
}
