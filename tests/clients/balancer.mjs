// A load balancer in front of nodes: each connection goes to the next node that accepts it.
import { once } from "node:events"
import { connect, createServer } from "node:net"

export class Balancer {
  #next = 0
  #listener
  #sockets = new Set()

  static async before(nodes) {
    const balancer = new Balancer()
    balancer.nodes = nodes
    balancer.#listener = createServer(client => balancer.#join(client, nodes.length))
    balancer.#listener.listen(0, "127.0.0.1")
    await once(balancer.#listener, "listening")
    balancer.url = `http://127.0.0.1:${balancer.#listener.address().port}`
    return balancer
  }

  get socketUrl() { return this.url.replace("http", "ws") + "/socket" }

  #join(client, tries) {
    const { hostname, port } = new URL(this.nodes[this.#next++ % this.nodes.length].url)
    const node = connect(port, hostname)
    const end = () => { client.destroy(); node.destroy() }
    let isOpen = false
    this.#sockets.add(client)
    client.on("error", () => {}).on("close", () => { this.#sockets.delete(client); node.destroy() })
    node.on("connect", () => {
      isOpen = true
      client.pipe(node)
      node.pipe(client)
    })
    node.on("error", () => {})
    node.on("close", () => isOpen || tries <= 1 ? end() : this.#join(client, tries - 1))
  }

  async stop() {
    for (const socket of this.#sockets) socket.destroy()
    this.#listener.close()
    await once(this.#listener, "close")
  }
}
