import { dialogs } from "../lib/dialogs.svelte"
import { attempt } from "../lib/failure"
import type { Chat } from "../lib/live/chat.svelte"
import { roomHref, router } from "../lib/route.svelte"

/** Opens the direct room with a user, and closes the dialog. */
export const openDirect = (chat: Chat, userId: string) => attempt(async () => {
  const { id } = await chat.rooms.openDirect(userId)
  dialogs.close()
  router.go(roomHref(id))
})
