// Which dialog is open, and what was told to the reader last.

import type { Picture } from "./shapes"

export type Dialog =
  | { name: "settings" | "browse" | "create" | "people" | "switcher" | "search" }
  | { name: "members" | "invite"; roomId: string }
  | { name: "picture"; picture: Picture }
  | { name: "confirm"; title: string; text: string; action: string; run: () => Promise<unknown> }

class Dialogs {
  open = $state.raw<Dialog | null>(null)
  /** A short text for the reader, such as why something failed. */
  notice = $state<string | null>(null)
  #timer: ReturnType<typeof setTimeout> | undefined

  show(dialog: Dialog) {
    this.open = dialog
  }

  close() {
    this.open = null
  }

  tell(notice: string) {
    clearTimeout(this.#timer)
    this.notice = notice
    this.#timer = setTimeout(() => { this.notice = null }, 6000)
  }
}

export const dialogs = new Dialogs()
