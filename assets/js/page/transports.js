// Puts a Link below each transport that phoenix.js opens. Other modules hear a message after phoenix.js has handled it.

import { Link } from "./connection.js"

if (window.WebSocket) {
  window.WebSocket = class extends WebSocket {
    #link

    constructor(...args) {
      super(...args)
      const link = new Link(text => super.send(text))
      this.#link = link
      this.addEventListener("open", () => link.opened())
      this.addEventListener("close", () => link.closed())
      // phoenix.js sets its own handler as soon as it has this object: ours is then behind it.
      queueMicrotask(() => this.addEventListener("message", ({ data }) => link.heard(data)))
    }

    send(text) {
      super.send(text)
      this.#link.said(text)
    }

    close(...args) {
      this.#link.lost()
      super.close(...args)
    }
  }
} else {
  // Then phoenix.js polls. It opens a session by a first GET without a token, which is answered with the status 410.
  let session = null

  window.XMLHttpRequest = class extends XMLHttpRequest {
    #link = null
    #isPost

    open(method, url, ...rest) {
      super.open(method, url, ...rest)
      this.#isPost = method === "POST"
      const polled = new URL(url, location).searchParams.has("token")
      if (!polled) session = new Session()
      if (polled) session.url = url
      this.#link = session.link
      if (this.#isPost) return
      this.addEventListener("loadend", () => {
        const { status, messages = [] } = answerIn(this.responseText)
        const isOpen = polled ? [200, 204] : [410]
        if (!isOpen.includes(status)) return this.#link.closed()
        this.#link.opened()
        // phoenix.js handles each message in a timer of its own, set before this one.
        setTimeout(() => messages.forEach(text => this.#link.heard(text)))
      })
    }

    send(body) {
      super.send(body)
      if (this.#isPost) for (const text of body.split("\n")) this.#link.said(text)
    }
  }

  class Session {
    url = null
    link = new Link(text => this.#post(text))

    #post(body) {
      const headers = { "content-type": "application/x-ndjson" }
      // If it fails, so does the poll, and what was in it counts as lost with its session.
      fetch(this.url, { method: "POST", headers, body }).catch(() => {})
    }
  }

  function answerIn(text) {
    try {
      return JSON.parse(text)
    } catch {
      return { status: 0 } // none, or not by our server
    }
  }
}
