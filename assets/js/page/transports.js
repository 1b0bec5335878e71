// Puts a Link below each transport that phoenix.js opens. The Link sees each message before it passes, may replace it, and is
// called again after phoenix.js has handled it.

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
      // This listener runs before that of phoenix.js, which is set after the constructor returns.
      let isHandingOn = false
      this.addEventListener("message", event => {
        if (isHandingOn) return
        event.stopImmediatePropagation()
        const { texts, after } = link.hears(event.data)
        isHandingOn = true
        for (const data of texts) this.dispatchEvent(new MessageEvent("message", { data }))
        isHandingOn = false
        // messages.js observes what app.js has appended; its microtask was queued first.
        queueMicrotask(after)
      })
    }

    send(text) {
      const passed = this.#link.says(text)
      if (passed !== null) super.send(passed)
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
    #heard = null // what the Link returned for each message of a poll
    #translated

    open(method, url, ...rest) {
      super.open(method, url, ...rest)
      this.#isPost = method === "POST"
      const polled = new URL(url, location).searchParams.has("token")
      if (!polled) session = new Session()
      if (polled) session.url = url
      this.#link = session.link
      if (this.#isPost) return
      this.addEventListener("loadend", () => {
        const { status } = answerIn(super.responseText)
        const isOpen = polled ? [200, 204] : [410]
        if (!isOpen.includes(status)) return this.#link.closed()
        this.#link.opened()
        // phoenix.js handles each message in a timer of its own, set before this one.
        setTimeout(() => this.#heard?.forEach(({ after }) => after()))
      })
    }

    // An empty body is valid: the server answers it like any other.
    send(body) {
      if (!this.#isPost) return super.send(body)
      super.send(body.split("\n").map(text => this.#link.says(text)).filter(text => text !== null).join("\n"))
    }

    /** The answer to a poll, as phoenix.js gets it. */
    get responseText() {
      const text = super.responseText
      if (this.#isPost || this.readyState !== XMLHttpRequest.DONE) return text
      this.#translated ??= this.#translate(text)
      return this.#translated
    }

    #translate(text) {
      const answer = answerIn(text)
      if (!answer.messages) return text
      this.#heard = answer.messages.map(message => this.#link.hears(message))
      return JSON.stringify({ ...answer, messages: this.#heard.flatMap(({ texts }) => texts) })
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
