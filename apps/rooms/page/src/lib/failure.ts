import { ApiError } from "./api"
import { dialogs } from "./dialogs.svelte"
import { Refusal } from "./live/ask"
import { settings } from "./settings.svelte"

/** What a reader is told about an error of the server. */
export function explain(error: unknown): string {
  const { errors } = settings.words
  const code = error instanceof ApiError ? error.code : error instanceof Refusal ? error.reason : "unavailable"
  return errors[code] ?? errors.unavailable!
}

/** Runs what a reader has asked for, and tells if it failed. Returns whether it did not. */
export async function attempt(run: () => Promise<unknown>): Promise<boolean> {
  try {
    await run()
    return true
  } catch (error) {
    dialogs.tell(explain(error))
    return false
  }
}
