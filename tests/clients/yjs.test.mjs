// The provider y-phoenix-channel, against the example `yjs`: documents that are edited together, apart, and again.
import assert from "node:assert/strict"
import { after, afterEach, before, test } from "node:test"
import { Socket } from "phoenix"
import WebSocket from "ws"
import { PhoenixChannelProvider } from "y-phoenix-channel"
import * as Y from "yjs"
import { Server } from "./server.mjs"
import { until } from "./until.mjs"

let server
before(async () => { server = await Server.yjs({ WORKERS: "2" }) })
after(() => server.stop())

let open = []
afterEach(() => {
  for (const { provider, socket } of open) {
    provider.destroy()
    socket.disconnect()
  }
  open = []
})

/** An editor of the document `topic`. Without `disableBc`, providers of one process would talk to each other past the server. */
async function edit(topic, name, doc = new Y.Doc()) {
  const socket = new Socket(server.mount("/socket"), { transport: WebSocket, reconnectAfterMs: () => 20, rejoinAfterMs: () => 20 })
  socket.connect()
  const provider = new PhoenixChannelProvider(socket, topic, doc, { disableBc: true })
  const editor = { doc, provider, socket, text: doc.getText("text") }
  open.push(editor)
  provider.awareness.setLocalStateField("name", name)
  await until(() => provider.synced, true)
  return editor
}

const read = ({ text }) => text.toString()
const names = ({ provider }) => [...provider.awareness.getStates().values()].map(state => state.name).sort()

test("edits reach every other editor, and whoever comes when all have left", async () => {
  const ann = await edit("doc:one", "ann")
  const bob = await edit("doc:one", "bob")
  ann.text.insert(0, "hello")
  await until(() => read(bob), "hello")
  bob.text.insert(5, " 鳥")
  bob.text.delete(0, 1)
  await until(() => read(ann), "ello 鳥")
  for (const { provider } of [ann, bob]) provider.disconnect()
  const carol = await edit("doc:one", "carol")
  await until(() => read(carol), "ello 鳥")
  const other = await edit("doc:two", "dave")
  assert.equal(read(other), "")
})

test("what was written offline is merged, on both sides", async () => {
  const ann = await edit("doc:offline", "ann")
  const bob = await edit("doc:offline", "bob")
  ann.text.insert(0, "one ")
  await until(() => read(bob), "one ")
  ann.provider.disconnect()
  ann.text.insert(4, "ann ")
  bob.text.insert(0, "bob ")
  ann.provider.connect()
  for (const editor of [ann, bob]) await until(() => read(editor), "bob one ann ")
  const carol = await edit("doc:offline", "carol")
  await until(() => read(carol), "bob one ann ")
})

test("each editor sees the names of the others until they leave", async () => {
  const ann = await edit("doc:names", "ann")
  const bob = await edit("doc:names", "bob")
  await until(() => names(ann), ["ann", "bob"])
  bob.provider.disconnect()
  await until(() => names(ann), ["ann"])
})
