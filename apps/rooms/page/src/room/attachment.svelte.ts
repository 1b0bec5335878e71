// A picture that is uploaded while its message is written.

import { upload, type Upload } from "../lib/api"
import type { Picture } from "../lib/shapes"

export class Attachment {
  /** The part that was sent, 0 to 1. */
  progress = $state(0)
  picture = $state.raw<Picture | null>(null)
  #upload: Upload

  /** `onFail` is called with the error if the server refuses the picture. */
  constructor(readonly file: File, onFail: (error: unknown) => void) {
    this.#upload = upload(file, part => { this.progress = part })
    this.#upload.picture.then(picture => { this.picture = picture }, onFail)
  }

  cancel() {
    this.#upload.cancel()
  }
}

/** The picture among what was pasted, dropped or chosen. */
export function pictureIn(files: FileList | undefined | null): File | null {
  return Array.from(files ?? []).find(({ type }) => type.startsWith("image/")) ?? null
}
