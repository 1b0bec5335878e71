// As much of a browser's XMLHttpRequest as phoenix.js uses, with a browser's order of events: the final readystatechange
// comes before load, error, timeout and abort alike.
import { Agent, request } from "node:http"

const agent = new Agent({ keepAlive: true })
const DONE = 4

export class XMLHttpRequest {
  readyState = 0
  responseText = ""
  timeout = 0
  #headers = {}
  #request

  open(method, url) {
    this.#request = { method, url: new URL(url) }
    this.readyState = 1
  }

  setRequestHeader(name, value) { this.#headers[name] = value }

  send(body) {
    const { method, url } = this.#request
    // A browser sends no body with a GET.
    const bytes = method === "GET" || body == null ? undefined : Buffer.from(body)
    const headers = { ...this.#headers, ...(bytes && { "content-length": bytes.length }) }
    this.#request = request(url, { method, headers, agent }, async response => {
      try {
        const chunks = await response.toArray()
        this.responseText = Buffer.concat(chunks).toString()
        this.#done("load")
      } catch {
        this.#done("error")
      }
    })
    this.#request.on("error", () => this.#done("error"))
    if (this.timeout) this.timer = setTimeout(() => this.#end("timeout"), this.timeout).unref()
    this.#request.end(bytes)
  }

  abort() { this.#end("abort") }

  #end(event) {
    this.#request.destroy()
    this.#done(event)
  }

  #done(event) {
    if (this.readyState === DONE) return
    clearTimeout(this.timer)
    this.readyState = DONE
    if (event !== "load") this.responseText = ""
    this.onreadystatechange?.()
    this[`on${event}`]?.()
  }
}
