// The channel `room:<id>`: the messages of one room, kept while another is shown, and brought up to date by recovery.

import type { Channel } from "phoenix"
import type { Change, Message, Page } from "../shapes"
import { ask, Refusal } from "./ask"
import type { Connection } from "./connection.svelte"
import { Positions } from "./positions"
import { Sender } from "./sender"
import { Timeline } from "./timeline.svelte"
import { Typing } from "./typing.svelte"
import type { Draft, Outbox } from "./outbox.svelte"

/** How long a change may be late before it is asked for. */
const GAP_MS = 500

type Joined = { epoch: string; last_id: number } & ({ recovered: true; messages: Change[] } | { recovered: false })
type History = Page & { epoch: string; last_id: number }

export class Conversation {
  timeline = new Timeline()
  typing = new Typing()
  /** What is written and not sent, while another room is shown. */
  draft = $state("")
  /** Set if the server does not let this user in. */
  refusal = $state<string | null>(null)
  #positions = new Positions()
  #channel: Channel | null = null
  #sender: Sender
  #gapTimer: ReturnType<typeof setTimeout> | undefined

  /** `onNews` is called with each message that is newer than what was shown. */
  constructor(readonly id: string, private connection: Connection, private outbox: Outbox, private onNews: (message: Message) => void) {
    this.#sender = new Sender(id, outbox, payload => ask(this.#joined, "post", payload))
  }

  get isJoined(): boolean {
    return this.#channel !== null
  }

  join() {
    if (this.#channel) return
    const { id } = this
    const channel = this.connection.channel(`room:${id}`, () => {
      this.#positions.forgetEarly()
      return { last_seen_id: this.#positions.last, epoch: this.#positions.epoch }
    })
    this.#channel = channel
    channel.on("change", change => this.#take([change]))
    channel.on("history", history => this.#restart(history))
    channel.on("typing", ({ user_id }) => this.typing.heard(user_id))
    channel.onError(() => this.#sender.stop())
    channel.join()
      .receive("ok", (reply: Joined) => {
        this.refusal = null
        if (reply.recovered) this.#take(reply.messages)
        this.#sender.start()
      })
      .receive("error", ({ reason }) => {
        if (new Refusal(reason).isTemporary) return
        this.refusal = reason
        this.leave()
      })
  }

  leave() {
    this.#channel?.leave()
    this.#channel = null
    this.#sender.stop()
    this.typing.end()
    clearTimeout(this.#gapTimer)
  }

  post(draft: Omit<Draft, "room_id">) {
    this.outbox.add({ ...draft, room_id: this.id })
    this.typing.sent()
    this.#sender.flush()
  }

  retry(nonce: string) {
    this.outbox.become(nonce, "waiting")
    this.#sender.flush()
  }

  edit = (id: number, text: string) => ask(this.#joined, "edit", { id, text })
  delete = (id: number) => ask(this.#joined, "delete", { id })
  react = (id: number, emoji: string, on: boolean) => ask(this.#joined, "react", { id, emoji, on })

  isTyping() {
    if (this.typing.isDue()) this.#channel?.push("typing", {})
  }

  async loadOlder() {
    const first = this.timeline.shown.messages[0]
    if (first) this.timeline.precede(await ask<Page>(this.#joined, "before", { id: first.id }))
  }

  async loadNewer() {
    const last = this.timeline.shown.messages.at(-1)
    if (!last) return
    const { messages } = await ask<Page>(this.#joined, "around", { id: last.id })
    this.timeline.follow(messages)
  }

  /** Has message `id` shown, wherever it is in the history. */
  async show(id: number) {
    if (this.timeline.shown.messages.some(message => message.id === id)) return
    const { messages } = await ask<Page>(this.#joined, "around", { id })
    this.timeline.show(id, messages)
  }

  /** Asks for changes that were perhaps lost. */
  async catchUp() {
    if (this.#positions.epoch !== null) await this.#fillGap()
  }

  get #joined(): Channel {
    if (!this.#channel) throw new Refusal("not_found")
    return this.#channel
  }

  #take(changes: Change[]) {
    for (const { message } of this.#positions.take(changes)) this.#show(message)
    clearTimeout(this.#gapTimer)
    if (this.#positions.isWaiting) this.#gapTimer = setTimeout(this.#fillGap, GAP_MS)
  }

  #show(message: Message) {
    const isNew = message.id > this.timeline.newestId
    this.timeline.change(message)
    if (message.nonce) this.outbox.remove(message.nonce)
    if (!isNew) return
    this.typing.stopped(message.author)
    this.onNews(message)
  }

  #fillGap = async () => {
    if (!this.#channel) return
    try {
      const { changes } = await ask<{ changes: Change[] }>(this.#channel, "changes", { last_seen_id: this.#positions.last })
      this.#take(changes)
    } catch {
      this.leave()
      this.join()
    }
  }

  #restart({ epoch, last_id, messages, more }: History) {
    this.timeline.restart({ messages, more })
    for (const { nonce } of messages) if (nonce) this.outbox.remove(nonce)
    for (const { nonce, state } of this.outbox.of(this.id)) if (state === "sent") this.outbox.remove(nonce)
    for (const { message } of this.#positions.restart(epoch, last_id)) this.#show(message)
  }
}
