// The official phoenix client on one socket, joined to chat:lobby, that keeps what it received.
import { Socket } from "phoenix"
import WebSocket from "ws"

const sockets = new Set()

/** For afterEach: a socket that a failed test left behind would connect again for ever and keep the process alive. */
export function disconnectAll() {
  for (const socket of sockets) socket.disconnect()
  sockets.clear()
}

export function openSocket(server, options = {}) {
  const socket = new Socket(server.socketUrl, {
    transport: WebSocket,
    reconnectAfterMs: () => 20,
    rejoinAfterMs: () => 20,
    ...options,
  })
  sockets.add(socket)
  socket.connect()
  return socket
}

/** The answer to a push: { status, response }. */
export function answer(push) {
  return new Promise(resolve => {
    for (const status of ["ok", "error", "timeout"]) push.receive(status, response => resolve({ status, response }))
  })
}

export class Client {
  histories = []
  messages = []
  likes = []

  constructor(server, options) {
    this.socket = openSocket(server, options)
    this.channel = this.socket.channel("chat:lobby", {})
    this.channel.on("load_messages", ({ messages }) => this.histories.push(messages))
    this.channel.on("new_message", ({ message }) => this.messages.push(message))
    this.channel.on("message_liked", ({ message }) => this.likes.push(message))
  }

  static async join(server, options) {
    const client = new Client(server, options)
    client.joined = await answer(client.channel.join())
    return client
  }

  send(event, payload) { return this.channel.push(event, payload) }
  push(event, payload) { return answer(this.send(event, payload)) }
  disconnect() { this.socket.disconnect() }
}
