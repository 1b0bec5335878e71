// Completes `@na` to the name of a user.

import type { Chat } from "../lib/live/chat.svelte"

const SHOWN = 6

export class Mentions {
  /** The names that begin with what was typed; empty if nothing is to be completed. */
  names = $state.raw<string[]>([])
  index = $state(0)
  #start = 0
  #end = 0

  constructor(private chat: Chat) {}

  look(field: HTMLTextAreaElement) {
    this.#end = field.selectionStart
    const match = /(?<![\p{L}\p{N}])@([\p{L}\p{N}_.-]*)$/u.exec(field.value.slice(0, this.#end))
    if (!match) return this.close()
    this.#start = match.index
    const begun = match[1]!.toLowerCase()
    const names = this.chat.team.people.map(({ name }) => name).filter(name => name.toLowerCase().startsWith(begun))
    this.index = 0
    // Enter after a whole name sends the message
    this.names = names.some(name => name.toLowerCase() === begun) ? [] : names.slice(0, SHOWN)
  }

  close() {
    this.names = []
  }

  /** The text with the name in place of what was typed. */
  completed(text: string, name: string): string {
    this.close()
    return `${text.slice(0, this.#start)}@${name} ${text.slice(this.#end)}`
  }

  /** Returns whether the key was for the list. */
  onkeydown(event: KeyboardEvent, choose: (name: string) => void): boolean {
    const count = this.names.length
    if (!count) return false
    switch (event.key) {
      case "ArrowDown": this.index = (this.index + 1) % count; return true
      case "ArrowUp": this.index = (this.index + count - 1) % count; return true
      case "Escape": this.close(); return true
      case "Enter":
      case "Tab": choose(this.names[this.index]!); return true
    }
    return false
  }
}
