import type { Picture } from "../lib/shapes"

const MAX_WIDTH = 380
const MAX_HEIGHT = 300

/** The size at which a picture is shown among messages, known before it is loaded so that nothing moves. */
export function fit({ width, height }: Picture): { width: number; height: number } {
  const scale = Math.min(1, MAX_WIDTH / width, MAX_HEIGHT / height)
  return { width: Math.max(1, Math.round(width * scale)), height: Math.max(1, Math.round(height * scale)) }
}
