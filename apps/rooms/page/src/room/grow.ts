import type { Attachment } from "svelte/attachments"

/** Makes a textarea as high as its text. An attachment runs again whenever what it reads, here the text, changes. */
export function grow(text: () => string): Attachment<HTMLTextAreaElement> {
  return field => {
    text()
    field.style.blockSize = "auto"
    field.style.blockSize = `${field.scrollHeight}px`
  }
}
