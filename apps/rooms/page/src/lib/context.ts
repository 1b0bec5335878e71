import { createContext } from "svelte"
import type { Chat } from "./live/chat.svelte"

/** The login that the components belong to. */
export const [getChat, setChat] = createContext<Chat>()
