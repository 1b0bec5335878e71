// A TCP proxy that cuts its connections after a given number of bytes, anywhere in a frame or a request.
import { once } from "node:events"
import { connect, createServer } from "node:net"

/** Returns a function `random(n)`, which returns an integer from 0 to n - 1. The same seed gives the same sequence. */
export function randomOf(seed) {
  let state = seed
  return n => {
    // mulberry32
    state = state + 0x6d2b79f5 | 0
    let t = Math.imul(state ^ state >>> 15, 1 | state)
    t = t + Math.imul(t ^ t >>> 7, 61 | t) ^ t
    return ((t ^ t >>> 14) >>> 0) % n
  }
}

export class Cuts {
  #connections = new Set()
  #listener
  #isClosed = false
  #left = Infinity // bytes until the next cut
  #isCut = null // called then

  static async before(server) {
    const cuts = new Cuts()
    const { hostname, port } = new URL(server.url)
    cuts.#listener = createServer(client => cuts.#join(client, connect(port, hostname)))
    cuts.#listener.listen(0, "127.0.0.1")
    await once(cuts.#listener, "listening")
    cuts.socketUrl = `ws://127.0.0.1:${cuts.#listener.address().port}/socket`
    return cuts
  }

  #join(client, server) {
    const end = () => {
      this.#connections.delete(end)
      client.destroy()
      server.destroy()
    }
    this.#connections.add(end)
    const pass = onward => data => {
      if (this.#isClosed) return end()
      const passed = data.subarray(0, this.#left)
      this.#left -= passed.length
      onward.write(passed)
      if (this.#left === 0) this.#cut()
    }
    client.on("data", pass(server))
    server.on("data", pass(client))
    for (const socket of [client, server]) socket.on("error", () => {}).on("close", end)
  }

  #cut() {
    this.#left = Infinity
    this.#endAll()
    this.#isCut?.()
  }

  #endAll() {
    for (const end of this.#connections) end()
  }

  /** Ends all connections, and new ones as soon as they send anything, until `open` is called. */
  close() {
    this.#isClosed = true
    this.#endAll()
  }

  open() {
    this.#isClosed = false
  }

  /** Ends all connections after this many more bytes in either direction, at least 1. Resolves after the cut. */
  async after(bytes) {
    this.#left = bytes
    await new Promise(done => { this.#isCut = done })
  }

  async stop() {
    this.#endAll()
    this.#listener.close()
    await once(this.#listener, "close")
  }
}
