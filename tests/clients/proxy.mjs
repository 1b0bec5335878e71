// A proxy in front of a server that lets HTTP through and does to WebSockets what proxies do.
import { createServer, request } from "node:http"
import { connect } from "node:net"
import { once } from "node:events"

export class Proxy {
  /** "METHOD path" of what came, WebSocket upgrades as "UPGRADE path". */
  seen = []
  #sockets = new Set()
  #server

  /**
   * `webSockets`: "pass" them, "refuse" them with an error, "hang": never answer, or "swallow": open them, and let nothing
   * through after that. Any request to `pages`, a map from path to [content type, body], is answered by the proxy itself.
   */
  static async start(server, webSockets, pages = {}) {
    const proxy = new Proxy()
    const { hostname, port } = new URL(server.url)
    proxy.#server = createServer((incoming, answer) => {
      const path = incoming.url.split("?")[0]
      if (path in pages) {
        answer.setHeader("content-type", pages[path][0])
        return answer.end(pages[path][1])
      }
      proxy.seen.push(`${incoming.method} ${path}`)
      const { method, url, headers } = incoming
      const onward = request({ hostname, port, method, path: url, headers }, response => {
        answer.writeHead(response.statusCode, response.headers)
        response.pipe(answer)
      })
      onward.on("error", () => answer.destroy())
      answer.on("close", () => onward.destroy())
      incoming.pipe(onward)
    })
    proxy.#server.on("connection", socket => proxy.#sockets.add(socket))
    proxy.#server.on("upgrade", (incoming, socket, head) => {
      proxy.seen.push(`UPGRADE ${incoming.url.split("?")[0]}`)
      socket.on("error", () => {})
      if (webSockets === "refuse") return socket.end("HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n")
      if (webSockets === "hang") return
      const onward = connect(port, hostname)
      onward.on("error", () => socket.destroy())
      socket.on("close", () => onward.destroy())
      const lines = Array.from({ length: incoming.rawHeaders.length / 2 }, (_, i) => incoming.rawHeaders.slice(2 * i, 2 * i + 2).join(": "))
      onward.write(`GET ${incoming.url} HTTP/1.1\r\n${lines.join("\r\n")}\r\n\r\n`)
      onward.write(head)
      onward.pipe(socket)
      if (webSockets === "pass") socket.pipe(onward)
      else socket.resume()
    })
    proxy.#server.listen(0, "127.0.0.1")
    await once(proxy.#server, "listening")
    proxy.url = `http://127.0.0.1:${proxy.#server.address().port}`
    return proxy
  }

  mount(path) { return this.url.replace("http", "ws") + path }

  async stop() {
    for (const socket of this.#sockets) socket.destroy()
    this.#server.close()
    await once(this.#server, "close")
  }
}
