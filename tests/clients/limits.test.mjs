// What the official phoenix client makes of a server that has had enough: of it, or of everybody.
import assert from "node:assert/strict"
import { afterEach, test } from "node:test"
import { LongPoll } from "phoenix"
import { Client, disconnectAll } from "./client.mjs"
import { Server } from "./server.mjs"
import { until } from "./until.mjs"

const BURST = 20

let server

afterEach(async () => {
  disconnectAll()
  await server.stop()
})

for (const [name, options] of [["a WebSocket", {}], ["long poll", { transport: LongPoll }]]) {
  test(`over ${name}, too many messages are errors to their senders, and one who goes on is closed and comes back`, async () => {
    server = await Server.start({ MAX_MESSAGE_RATE: "1", MAX_MESSAGE_BURST: String(BURST) })
    const client = await Client.join(server, options)
    const closes = []
    client.socket.onClose(event => closes.push(event.code))
    await until(() => client.histories.length, 1)
    const answers = await Promise.all(Array.from({ length: BURST + 5 }, () => client.push("like_message", { message_id: 1 })))
    const refused = answers.filter(({ response }) => response.reason === "too many messages")
    assert.ok(refused.length > 0 && refused.length < answers.length, `${refused.length} of ${answers.length}`)
    for (const { status } of refused) assert.equal(status, "error")

    for (let n = 0; n < 4 * BURST; n++) client.send("like_message", { message_id: 1 })
    await until(() => closes.length > 0, true)
    if (!options.transport) assert.equal(closes[0], 1008)
    await until(() => client.histories.length >= 2, true)
  })

  test(`over ${name}, one for whom there is no room comes in when there is`, async () => {
    server = await Server.start({ MAX_CONNECTIONS: "1" })
    const first = await Client.join(server)
    const second = new Client(server, options)
    const joined = new Promise(resolve => second.channel.join().receive("ok", resolve))
    const errors = []
    second.socket.onError(error => errors.push(error))
    await until(() => errors.length > 1, true)
    assert.equal(second.histories.length, 0)
    first.disconnect()
    await joined
  })
}
