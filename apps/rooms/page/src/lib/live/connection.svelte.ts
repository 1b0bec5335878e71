// The socket: one connection for all channels, reconnected by phoenix.js with the newest token.

import { Socket, type Channel } from "phoenix"

/** Milliseconds before each try to reconnect; the last one repeats. */
const TRIES = [300, 1000, 2000, 5000]

export class Connection {
  /** `connecting` until the first connection is open. */
  state = $state<"connecting" | "online" | "offline">("connecting")
  #socket: Socket

  /** `onRefused` is called when a connection was lost or refused, perhaps because of its token. */
  constructor(token: () => string, onRefused: () => void) {
    this.#socket = new Socket("/socket", {
      authToken: token,
      reconnectAfterMs: tries => TRIES[tries - 1] ?? 5000,
      rejoinAfterMs: tries => TRIES[tries - 1] ?? 5000,
    })
    this.#socket.onOpen(() => { this.state = "online" })
    this.#socket.onClose(() => {
      this.state = "offline"
      onRefused()
    })
    this.#socket.connect()
    addEventListener("online", this.#retry)
    addEventListener("offline", this.#reconnect)
  }

  channel(topic: string, params?: object | (() => object)): Channel {
    return this.#socket.channel(topic, params)
  }

  /** The network is back: there is no need to wait for the next try. */
  #retry = () => {
    if (!this.#socket.isConnected()) this.#reconnect()
  }

  /** The network is gone, which the connection itself would notice only after a heartbeat. A server on this machine still answers. */
  #reconnect = () => this.#socket.disconnect(() => this.#socket.connect())

  end() {
    removeEventListener("online", this.#retry)
    removeEventListener("offline", this.#reconnect)
    this.#socket.disconnect()
  }
}
