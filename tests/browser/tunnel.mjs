// TCP between a page and a server that can be cut, and lose what is sent either way. Only connections that carry the socket
// (`/socket/`) are cut: the page can be loaded meanwhile.
import { connect, createServer } from "node:net"
import { once } from "node:events"

export class Tunnel {
  /** Whether what the page says on the socket, and what the server says on it, gets through. */
  passes = { up: true, down: true }
  #isCut = false
  #connections = new Set()
  #listener

  static async to(server) {
    const tunnel = new Tunnel()
    const { hostname, port } = new URL(server.url)
    tunnel.#listener = createServer(page => tunnel.#join(page, connect(port, hostname)))
    tunnel.#listener.listen(0, "127.0.0.1")
    await once(tunnel.#listener, "listening")
    tunnel.url = `http://127.0.0.1:${tunnel.#listener.address().port}`
    return tunnel
  }

  #join(page, server) {
    const connection = { isSocket: false, end: () => { page.destroy(); server.destroy() } }
    this.#connections.add(connection)
    page.on("data", data => {
      connection.isSocket ||= data.includes("/socket/")
      if (connection.isSocket && this.#isCut) connection.end()
      else if (!connection.isSocket || this.passes.up) server.write(data)
    })
    server.on("data", data => {
      if (!connection.isSocket || this.passes.down) page.write(data)
    })
    for (const end of [page, server]) {
      end.on("error", () => {})
      end.on("close", () => {
        this.#connections.delete(connection)
        connection.end()
      })
    }
  }

  /** Ends all connections that carry the socket, and any new one as soon as it does, until `mend`. */
  cut() {
    this.#isCut = true
    for (const connection of this.#connections) if (connection.isSocket) connection.end()
  }

  mend() {
    this.#isCut = false
    this.passes = { up: true, down: true }
  }

  async stop() {
    for (const connection of this.#connections) connection.end()
    this.#listener.close()
    await once(this.#listener, "close")
  }
}
