// What is being written in a room: a new message, perhaps a reply with a picture, or the edit of one.

import type { Conversation } from "../lib/live/conversation.svelte"
import { quote } from "../lib/live/segment"
import type { Message, Quote } from "../lib/shapes"
import type { Attachment } from "./attachment.svelte"

export class Writing {
  text = $state("")
  replyTo = $state.raw<Quote | null>(null)
  edited = $state.raw<Message | null>(null)
  attachment = $state.raw<Attachment | null>(null)
  #draft = ""

  constructor(private conversation: Conversation) {
    this.text = conversation.draft
  }

  get isReady(): boolean {
    if (this.attachment && !this.attachment.picture) return false
    return this.text.trim() !== "" || this.attachment !== null
  }

  /** The text was changed by its author. */
  typed() {
    if (this.edited) return
    this.conversation.draft = this.text
    if (this.text) this.conversation.isTyping()
  }

  reply(message: Message) {
    this.cancel()
    this.replyTo = quote(message)
  }

  edit(message: Message) {
    this.cancel()
    this.#draft = this.text
    this.edited = message
    this.text = message.text ?? ""
  }

  cancel() {
    if (this.edited) this.text = this.#draft
    this.edited = null
    this.replyTo = null
  }

  /** Sends the message, or saves the edit. Rejects if the edit is refused. */
  async send() {
    const { edited, text, replyTo, attachment } = this
    if (edited) {
      this.cancel()
      if (text.trim() !== edited.text) await this.conversation.edit(edited.id, text.trim())
      return
    }
    this.conversation.post({ text: text.trim(), reply_to: replyTo, picture: attachment?.picture ?? null })
    this.text = this.conversation.draft = ""
    this.replyTo = null
    this.attachment = null
  }
}
