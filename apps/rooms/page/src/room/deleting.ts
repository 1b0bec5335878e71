import { dialogs } from "../lib/dialogs.svelte"
import type { Conversation } from "../lib/live/conversation.svelte"
import { settings } from "../lib/settings.svelte"
import type { Message } from "../lib/shapes"

export function askToDelete(conversation: Conversation, { id }: Message) {
  const { deleteTitle, deleteText, delete: action } = settings.words
  dialogs.show({ name: "confirm", title: deleteTitle, text: deleteText, action, run: () => conversation.delete(id) })
}
