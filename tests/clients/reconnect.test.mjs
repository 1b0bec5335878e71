// The server goes away under the official phoenix client and comes back on its port.
import assert from "node:assert/strict"
import { afterEach, beforeEach, test } from "node:test"
import { LongPoll } from "phoenix"
import { Client, disconnectAll } from "./client.mjs"
import { Server } from "./server.mjs"
import { until } from "./until.mjs"

let server, client, closes

beforeEach(async () => {
  server = await Server.start()
  client = await Client.join(server)
  closes = []
  client.socket.onClose(event => closes.push(event.code))
})
afterEach(async () => {
  disconnectAll()
  await server.stop()
})

const contents = messages => messages.map(message => message.content)

test("after a kill the client reconnects, joins again and gets the empty history of the new life", async () => {
  client.send("new_message", { message: "before" })
  await until(() => contents(client.messages), ["before"])
  await server.kill()
  await until(() => closes.length > 0, true)
  assert.equal(closes[0], 1006)
  await server.startAgain()
  await until(() => client.histories, [[], []])

  client.send("new_message", { message: "after" })
  await until(() => client.messages.map(({ id, content }) => [id, content]), [[1, "before"], [1, "after"]])
  assert.deepEqual(await client.push("like_message", { message_id: 1 }), { status: "ok", response: {} })
})

test("what is pushed while the server is away is sent once it is back, in order and once", async () => {
  await until(() => client.histories.length, 1)
  await server.kill()
  await until(() => closes.length > 0, true)
  client.send("new_message", { message: "one" })
  client.send("new_message", { message: "two" })
  const like = client.push("like_message", { message_id: 1 })
  await server.startAgain()
  assert.deepEqual(await like, { status: "ok", response: {} })
  assert.deepEqual(contents(client.messages), ["one", "two"])
})

test("a server that is told to stop closes with 1012, which makes the client come back", async () => {
  await until(() => client.histories.length, 1)
  await server.stop("SIGTERM")
  await until(() => closes[0], 1012)
  await server.startAgain()
  await until(() => client.histories.length, 2)
})

test("a server that is told to stop does not wait for a client that polls, and that client comes back", async () => {
  const polling = await Client.join(server, { transport: LongPoll })
  await until(() => polling.histories.length, 1)
  const began = performance.now()
  await server.stop("SIGTERM")
  const took = performance.now() - began
  await server.startAgain()
  await until(() => polling.histories.length, 2)
  assert.ok(took < 2_000, `it took ${Math.round(took)} ms`)
})
