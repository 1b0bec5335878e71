// A picture that is uploaded while its message is written.

import { upload, type Upload } from "../lib/api"
import { PICTURE_LIMIT, type Picture } from "../lib/shapes"

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

/** The types that the server takes. */
export const PICTURE_TYPES = ["image/png", "image/jpeg", "image/gif", "image/webp"]

const isPicture = ({ type }: File) => PICTURE_TYPES.includes(type)

/** The picture among what was pasted, dropped or chosen; another file if none is one, and null if there is no file. */
export function pictureIn(files: FileList | null | undefined): File | null {
  const all = Array.from(files ?? [])
  return all.find(isPicture) ?? all[0] ?? null
}

/** Why a file cannot be sent: a code as the server's; null if it can. */
export function refusalOf(file: File): string | null {
  if (!isPicture(file)) return "not_a_picture"
  return file.size > PICTURE_LIMIT ? "too_large" : null
}

/** Whether files are dragged or pasted, and not a text that also comes as a picture of it, as of a spreadsheet. */
export function hasFiles(data: DataTransfer | null): boolean {
  if (!data?.types.includes("Files")) return false
  return !(data.types.includes("text/plain") && data.types.includes("text/html"))
}
