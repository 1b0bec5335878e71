// A search and what it has found, kept while the dialog is closed.

import type { Chat } from "../lib/live/chat.svelte"
import type { Hit } from "../lib/shapes"

class Search {
  text = $state("")
  /** Only in this room, if set. */
  roomId = $state<string | null>(null)
  /** The text that the hits are for; null before the first search. */
  found = $state<string | null>(null)
  hits = $state.raw<Hit[]>([])
  hasMore = $state(false)
  isBusy = $state(false)

  /** The next user must not see what this one has found. */
  clear() {
    Object.assign(this, { text: "", roomId: null, found: null, hits: [], hasMore: false })
  }

  async run(chat: Chat, before?: number) {
    const text = this.text.trim()
    if (!text) return
    this.isBusy = true
    try {
      const { hits, more } = await chat.rooms.search(text, this.roomId ?? undefined, before)
      this.hits = before ? [...this.hits, ...hits] : hits
      this.hasMore = more
      this.found = text
    } finally {
      this.isBusy = false
    }
  }
}

export const search = new Search()
